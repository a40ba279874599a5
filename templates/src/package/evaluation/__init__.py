"""What evaluation measures: a module for each metric, and what metrics are computed from."""
