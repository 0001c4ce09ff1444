"""What the names of arrays say: which split each belongs to, and whether it is inputs or targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jaxnets.data.table.reading import SPLITS
from jaxnets.errors import DataError, near

INPUTS = ("inputs", "input", "x", "images", "image", "features", "data")
TARGETS = ("targets", "target", "y", "labels", "label", "masks", "mask")


def role(name: str) -> tuple[str, str] | None:
    """(split, "inputs" or "targets") of the array `name`; split "" where it names none, None if it says nothing.

    >>> role("x_train"), role("val_labels"), role("inputs"), role("history")
    (('train', 'inputs'), ('valid', 'targets'), ('', 'inputs'), None)
    """
    words = name.lower().split("_")
    splits = [SPLITS[word] for word in words if word in SPLITS]
    rest = [word for word in words if word not in SPLITS]
    if len(splits) > 1 or len(rest) != 1 or rest[0] not in INPUTS + TARGETS:
        return None
    return (splits[0] if splits else ""), ("inputs" if rest[0] in INPUTS else "targets")


def roles(names: Iterable[str], *, place: str) -> dict[str, dict[str, str]]:
    """{split: {"inputs": name, "targets": name}} of the arrays of a source, "" = no split is named.

    Raises DataError, beginning with `place`, if a name says nothing, or inputs or targets are missing or given twice.
    """
    found: dict[str, dict[str, str]] = {}
    for name in names:
        said = role(name)
        if said is None:
            raise DataError(
                f"{place} holds an array {name!r}, which says nothing{near(name, ('inputs', 'targets'))}; call arrays "
                "inputs (x, images) and targets (y, labels), with train, valid or test where they are split: x_train"
            )
        split, kind = said
        if kind in found.setdefault(split, {}):
            what = f"{split} {kind}".strip()
            raise DataError(f"{place} holds two arrays of {what}: {found[split][kind]} and {name}; leave one")
        found[split][kind] = name
    _check(found, place)
    return found


def _check(found: Mapping[str, Mapping[str, str]], place: str) -> None:
    for split, own in found.items():
        missing = {"inputs", "targets"} - own.keys()
        if missing:
            what = f"{split} {missing.pop()}".strip()
            raise DataError(f"{place} has {', '.join(own.values())} but no {what}; give both")
    if not found:
        raise DataError(f"{place} holds no arrays; give inputs and targets")
    if ("" in found) == (len(found) > 1 or "train" in found):
        raise DataError(f"{place} holds {_listed(found)}; give arrays of a train split, or of no split at all")


def _listed(found: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(name for own in found.values() for name in own.values())
