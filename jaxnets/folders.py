"""What a folder under `runs/` is: one run, or a series of runs whose members are run folders themselves."""

from __future__ import annotations

from pathlib import Path

from jaxnets.errors import UsageError

SERIES = "series.json"  # what makes a folder a series
_SHOWN = 8  # members named in a message, at most


def members_of(folder: Path) -> list[str]:
    """The names of the run folders inside a series, in order of their numbers; [] if the folder is no series."""
    if not (folder / SERIES).is_file():
        return []
    found = [path.name for path in folder.iterdir() if path.is_dir() and path.name.rpartition("_")[2].isdigit()]
    return sorted(found, key=lambda name: int(name.rpartition("_")[2]))


def refuse_series(folder: Path) -> None:
    """Raises UsageError naming the members, if a folder that is to be one run is a series."""
    if not (folder / SERIES).is_file():
        return
    names = members_of(folder)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    held = f"({', '.join(names[:_SHOWN])}{more})" if names else "that has not begun"
    raise UsageError(
        f"{folder} is a series of runs {held}, not one run; give one of them, as in {folder / (names or ['seed_0'])[0]}"
    )
