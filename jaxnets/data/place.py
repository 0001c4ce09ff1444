"""Where the user's files lie: as given, or in the folder that JAXNETS_DATA names."""

from __future__ import annotations

import glob
import os
from pathlib import Path


def locate(name: str) -> Path | None:
    """The file `name`, from here or from JAXNETS_DATA; None if it is in neither."""
    places = [Path(name)]
    if os.environ.get("JAXNETS_DATA"):
        places.append(Path(os.environ["JAXNETS_DATA"]) / name)
    return next((place for place in places if place.is_file()), None)


def locate_all(pattern: str) -> list[Path]:
    """The files that `pattern` fits, in order of name, from here or else from JAXNETS_DATA; none if neither has any."""
    places = [Path()]
    if os.environ.get("JAXNETS_DATA"):
        places.append(Path(os.environ["JAXNETS_DATA"]))
    for place in places:
        found = sorted(path for path in map(Path, glob.glob(str(place / pattern))) if path.is_file())
        if found:
            return found
    return []
