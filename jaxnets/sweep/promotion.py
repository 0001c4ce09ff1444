"""A trial of a sweep as an experiment again, to be trained as a run of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jaxnets import config
from jaxnets.config import Experiment
from jaxnets.errors import UsageError, near
from jaxnets.files import read_json
from jaxnets.sweep.record import SWEEP
from jaxnets.sweep.space import apply


def folder_of(name: str | Path, *, home: Path = Path("sweeps")) -> Path:
    """The folder of a sweep, given by itself or by the sweep's name. Raises UsageError, with a near name."""
    for folder in (Path(name), home / name):
        if (folder / SWEEP).is_file():
            return folder
    known = [path.parent.name for path in home.glob(f"*/{SWEEP}")]
    raise UsageError(
        f"{name} is no sweep: neither it nor {home / name} holds {SWEEP}{near(str(name), known)}; "
        "give the folder or the name that jaxnets sweep had"
    )


def promoted(name: str | Path, *, trial: int | None = None) -> tuple[Experiment, str]:
    """(the experiment of a trial, words for it); default: of the best one.

    A config with functions of the user's own is read from its file again, which must be where it was and say the same.
    Raises UsageError if there is no such trial, ConfigError if the config file has changed.
    """
    figures = read_json(folder_of(name) / SWEEP)
    chosen = _chosen(figures, trial, name)
    whole = next(one for one in figures["trials"] if one["number"] == chosen["number"])
    words = f"trial {chosen['number']} of {figures['name']}"
    if chosen["values"]:
        words += ": " + ", ".join(
            f"{objective['figure']} {value:.6g}"
            for objective, value in zip(figures["objectives"], chosen["values"], strict=True)
        )
    if whole["parent"] is not None:
        words += (
            f"\n             it went on from weights of trial {whole['parent']} and with other settings (pbt); this "
            "run begins anew with its first settings, and may end elsewhere"
        )
    return apply(_base(figures), chosen["settings"]), words


def _chosen(figures: dict[str, Any], trial: int | None, name: Any) -> dict[str, Any]:
    if trial is None:
        if figures["best"] is None:
            raise UsageError(f"no trial of {name} was completed, so that none is the best; give one with --trial N")
        return figures["best"]
    found = [one for one in figures["trials"] if one["number"] == trial]
    if not found:
        raise UsageError(f"{name} has no trial {trial}; give 0 to {len(figures['trials']) - 1}")
    return found[0]


def _base(figures: dict[str, Any]) -> Experiment:
    if not any(_is_own(value) for value in _walk(figures["base"])):
        return config.from_json(config.filled(figures["base"]))
    found = config.load(figures["config"])
    changed = config.difference(figures["base"], json.loads(config.dump(found)))
    settings = {path: before for path, (before, _) in changed.items()}
    return apply(found, settings)


def _walk(value: Any) -> Iterable[Any]:
    yield value
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in parts:
        yield from _walk(part)


def _is_own(value: Any) -> bool:
    return isinstance(value, dict) and value.get("variant") == "custom"
