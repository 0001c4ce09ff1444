"""Real time series that come with an installed package, written once as a table into the cache."""

from __future__ import annotations

import csv
import gzip
import importlib.util
from pathlib import Path

from jaxnets.data.cache import prepared
from jaxnets.errors import MissingExtra

NAMES = ("sea_temperature",)


def locate(name: str) -> str | None:
    """The path of a packaged series by its name; None if it is not one of them.

    sea_temperature: of the Western Maine Shelf (NERACOOS B01) every half hour, February 2016 to March 2017, 19 225 rows
    (bokeh_sampledata); of a time that is there twice the first row is taken, 24 steps have none. Raises MissingExtra.
    """
    if name not in NAMES:
        return None
    found = importlib.util.find_spec("bokeh_sampledata")
    if found is None or found.origin is None:
        raise MissingExtra("bokeh_sampledata", extra="series", purpose=f"for series:{name}")
    raw = Path(found.origin).parent / "_data" / "sea_surface_temperature.csv.gz"
    return str(prepared(f"series/{name}", lambda folder: _write(raw, folder / f"{name}.csv")) / f"{name}.csv")


def _write(raw: Path, out: Path) -> None:
    """Time and temperature, each time once."""
    with gzip.open(raw, "rt", encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines))[1:]
    last = ""
    with open(out, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "temperature"])
        for time, value in rows:
            if time != last:
                writer.writerow([time.removesuffix("Z"), value])
            last = time
