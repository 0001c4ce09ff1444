"""Real time series that come with an installed package, written once as a table into the cache."""

from __future__ import annotations

import csv
import gzip
import importlib.util
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from jaxnets.data.cache import prepared
from jaxnets.errors import MissingExtra

_FILES = {"sea_temperature": "sea_surface_temperature.csv.gz", "glucose": "CGM.csv.gz"}
NAMES = tuple(_FILES)


def locate(name: str) -> str | None:
    """The path of a packaged series by its name; None if it is not one of them. Both come with bokeh_sampledata.

    sea_temperature: of the Western Maine Shelf (NERACOOS B01) every half hour, February 2016 to March 2017; of a time
        that is there twice the first row is taken
    glucose: of one person (mg/dl, public domain), by a sensor, every five minutes, March to October 2010; times are
        rounded down to five minutes, of which the first row is taken

    Raises MissingExtra.
    """
    if name not in NAMES:
        return None
    found = importlib.util.find_spec("bokeh_sampledata")
    if found is None or found.origin is None:
        raise MissingExtra("bokeh_sampledata", extra="series", purpose=f"for series:{name}")
    raw = Path(found.origin).parent / "_data" / _FILES[name]
    write = _write_glucose if name == "glucose" else _write_sea
    return str(prepared(f"series/{name}", lambda folder: write(raw, folder / f"{name}.csv")) / f"{name}.csv")


def _write_sea(raw: Path, out: Path) -> None:
    _write(((time.removesuffix("Z"), value) for time, value in _rows(raw)), "temperature", out)


def _write_glucose(raw: Path, out: Path) -> None:
    rows = ((datetime.fromisoformat(time), value) for _, time, value in _rows(raw))
    even = ((time - timedelta(minutes=time.minute % 5, seconds=time.second), value) for time, value in rows)
    _write(((time.isoformat(sep=" "), value) for time, value in even), "glucose", out)


def _rows(raw: Path) -> list[list[str]]:
    with gzip.open(raw, "rt", encoding="utf-8", newline="") as lines:
        return list(csv.reader(lines))[1:]


def _write(rows: Iterable[tuple[str, str]], column: str, out: Path) -> None:
    """A table of time and `column`, each time once."""
    last = ""
    with open(out, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", column])
        for time, value in rows:
            if time != last:
                writer.writerow([time, value])
            last = time
