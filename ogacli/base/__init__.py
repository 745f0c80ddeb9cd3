"""What every other package uses: options, registries, YAML, files, tables, text; little of it needs torch."""
