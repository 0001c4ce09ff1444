"""Data sets of the Hugging Face library `datasets`: from its hub, from disk, from Python."""
