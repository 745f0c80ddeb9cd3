"""What an earlier scan has found already: an unfinished one, or a run of the data before they changed."""
