"""Documents that may come from anybody: JSON and YAML, and changes of single keys."""
