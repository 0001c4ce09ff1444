"""Where the user's files lie: as given, or in the folder that JAXNETS_DATA names."""

from __future__ import annotations

import os
from pathlib import Path


def locate(name: str) -> Path | None:
    """The file `name`, from here or from JAXNETS_DATA; None if it is in neither."""
    places = [Path(name)]
    if os.environ.get("JAXNETS_DATA"):
        places.append(Path(os.environ["JAXNETS_DATA"]) / name)
    return next((place for place in places if place.is_file()), None)
