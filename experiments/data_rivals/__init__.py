"""Loaders of other frameworks for experiments/data_benchmark.py, each in an environment and processes of its own."""
