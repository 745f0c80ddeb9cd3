"""What depends on the kind of label: its loss and residual."""
