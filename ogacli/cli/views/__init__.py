"""What each command prints on a terminal of 80 columns: result -> rich markup and tables."""
