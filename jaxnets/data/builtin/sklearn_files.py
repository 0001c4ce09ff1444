"""scikit-learn's data files, read without importing scikit-learn's data sets."""

from __future__ import annotations

import csv
import gzip
from importlib import resources

import numpy as np


def read_csv(name: str) -> tuple[list[str], np.ndarray]:
    """(words of the first line, the rest as float64) of a CSV file; the first line holds counts and class names."""
    text = (resources.files("sklearn.datasets.data") / name).read_text(encoding="utf-8")
    rows = list(csv.reader(text.splitlines()))
    return rows[0], np.asarray(rows[1:], np.float64)


def read_gz(name: str, *, delimiter: str | None = None) -> np.ndarray:
    """A gzipped text file of numbers."""
    content = (resources.files("sklearn.datasets.data") / name).read_bytes()
    return np.loadtxt(gzip.decompress(content).decode().splitlines(), delimiter=delimiter)
