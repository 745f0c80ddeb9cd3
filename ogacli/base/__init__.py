"""Ground that every room stands on: options, registries, YAML, files, tables, text; next to no torch."""
