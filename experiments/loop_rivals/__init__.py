"""Trainers of other frameworks for experiments/loop_benchmark.py, each in an environment and processes of its own."""
