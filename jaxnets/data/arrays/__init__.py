"""Arrays: what Python or files of NumPy hold, as examples."""
