"""The registry: training runs, tree versions and predictions as rows, their parts as content-addressed files."""
