"""`jaxnets init`: looks at a file or folder, draws its conclusions, and writes a config that trains at once."""

from __future__ import annotations

import re
from pathlib import Path

from jaxnets import config
from jaxnets.admission import admit
from jaxnets.draft import media, others, tables
from jaxnets.draft.outline import Outline as Outline
from jaxnets.draft.place import Found as Found
from jaxnets.draft.place import find as find
from jaxnets.draft.writing import python as python
from jaxnets.errors import UsageError
from jaxnets.files import write_atomically


def outline(found: Found, *, target: str | None = None) -> Outline:
    """The experiment for what was found. UsageError if it cannot be one."""
    if found.kind == "table":
        return tables.outline(found, target)
    if target is not None:
        raise UsageError(f"--target {target} is for tables, but {found.source} holds {found.kind}; leave it out")
    made = {"text": others.text, "pictures": others.pictures, "images": media.pictures, "sounds": media.sounds}
    made["pairs"] = media.pairs
    return made[found.kind](found)


def write(path: str, *, target: str | None, out: Path | None, force: bool) -> tuple[Path, Outline]:
    """Writes the config for a path to `out`, or configs/NAME.py; it has been admitted, so that it trains.

    Raises UsageError if the path, the target or `out` cannot be; DataError for bad data. Nothing is written then.
    """
    found = find(path, as_table=target is not None)
    out = out or Path("configs") / f"{_name(found.name)}.py"
    if out.suffix != ".py" or out.is_dir():
        raise UsageError(f"--out {out} is not allowed; give a file that ends in .py")
    if out.exists() and not force:
        raise UsageError(f"{out} is there already; write over it with --force, or give another --out FILE")
    drawn = outline(found, target=target)
    config.check(drawn.experiment)
    admit(drawn.experiment)
    lines = [f"command jaxnets train {out}", f"look jaxnets data {out} --html {out.stem}.html", *drawn.lines]
    text = python(drawn.experiment, title=drawn.title, lines=lines + _found(drawn), reasons=drawn.reasons)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, text.encode())
    return out, drawn


def _found(drawn: Outline) -> list[str]:
    told = [finding for finding in drawn.findings if finding.severity != "note"]
    return [f"{finding.severity} {finding.check}: {finding.words}" for finding in told[:8]]


def _name(stem: str) -> str:
    """A name for a config and its run.

    >>> _name("My data (2)"), _name("titanic")
    ('my_data_2', 'titanic')
    """
    return re.sub(r"\W+", "_", stem.lower()).strip("_") or "config"
