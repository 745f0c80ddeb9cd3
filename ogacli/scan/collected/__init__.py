"""What a scan collects of each sample, column by column, and what stands beside it."""
