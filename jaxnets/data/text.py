"""`text:FILE`: a text file as bytes."""

from __future__ import annotations

import hashlib

import numpy as np

from jaxnets.data.place import locate
from jaxnets.errors import DataError


def read(name: str) -> tuple[np.ndarray, dict[str, str], str]:
    """(tokens uint8, files, fingerprint) of a file here or in JAXNETS_DATA. DataError if it is in neither."""
    path = locate(name)
    if path is None:
        raise DataError(f"text:{name}: there is no such file here or in JAXNETS_DATA; give a path")
    content = path.read_bytes()
    if not content:
        raise DataError(f"{path} is empty; give a text")
    digest = hashlib.sha256(content).hexdigest()
    return np.frombuffer(content, np.uint8), {path.name: digest}, digest
