"""What each command shows on a terminal of 80 columns; one file a group of commands."""
