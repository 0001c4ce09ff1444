"""The same example more than once: within the data, with other labels, and, worst, in train and in test."""

from __future__ import annotations

import numpy as np

from jaxnets.inspection.finding import Finding, pairs, shares
from jaxnets.inspection.view import View

_STOP, _LEAST = (
    0.2,
    20,
)  # share and number of held-out examples that are in the train split, from which on it is an error
_WARN = 0.01
_SPARE = 10.0  # bits beyond what tells all pairs of rows apart: then equal rows are no chance


def repeated(view: View) -> list[Finding]:
    """Examples of the train split that are there more than once, and those of them whose labels differ."""
    keys = view.keys.get("train")
    if keys is None or not len(keys) or _coarse(view):
        return []
    order = np.argsort(keys, kind="stable")
    same = keys[order][1:] == keys[order][:-1]
    later, earlier = order[1:][same], order[:-1][same]
    if not len(later):
        return []
    train, ids = view.split("train"), view.ids["train"]
    words = f"{shares(len(later), len(keys))} of the train split repeat another one, which counts more than others then"
    severity = "warning" if len(later) > _WARN * len(keys) else "note"
    found = [Finding("duplicates", severity, words, len(later), pairs(train, ids[earlier], train, ids[later]))]
    return found + _contradictions(view, earlier, later)


def _contradictions(view: View, earlier: np.ndarray, later: np.ndarray) -> list[Finding]:
    targets = view.targets("train")
    if targets is None or view.schema.target_kind != "class":
        return []
    odd = targets[earlier] != targets[later]
    if not odd.any():
        return []
    train, ids = view.split("train"), view.ids["train"]
    words = f"{int(odd.sum()):,} pairs of equal examples have different classes; correct one of the two"
    rows = pairs(train, ids[earlier[odd]], train, ids[later[odd]])
    return [Finding("contradiction", "warning", words, int(odd.sum()), rows)]


def leaked(view: View) -> list[Finding]:
    """Examples of the test and the validation split that the train split holds as well."""
    found = []
    for name in ("test", "valid"):
        if not {name, "train"} <= set(view.keys) or not len(view.keys["train"]) or _coarse(view):
            continue
        order = np.argsort(view.keys["train"], kind="stable")
        known, keys = view.keys["train"][order], view.keys[name]
        place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        twins = np.flatnonzero(known[place] == keys)
        if len(twins):
            found.append(_leak(view, name, twins, order[place[twins]]))
    return found


def _leak(view: View, name: str, twins: np.ndarray, others: np.ndarray) -> Finding:
    whole = len(view.keys[name])
    stops = name == "test" and len(twins) >= max(_LEAST, _STOP * whole)
    severity = "error" if stops else "warning" if len(twins) > _WARN * whole else "note"
    rows = pairs(view.split(name), view.ids[name][twins], view.split("train"), view.ids["train"][others])
    words = f"{shares(len(twins), whole)} of the {name} split are in the train split as well, so that its figures "
    return Finding("leakage", severity, words + "flatter; remove them, or split by group", len(twins), rows)


def _coarse(view: View) -> bool:
    """Whether equal rows are to be expected, as of a few columns with a few values each."""
    used = [one for one in view.features if one.used]
    if not used:
        return False
    bits = sum(_bits(one.values) for one in used)
    return bool(bits < 2 * np.log2(len(used[0].values) + 1) + _SPARE)


def _bits(values: np.ndarray) -> float:
    """-log2 of the chance that two rows have the same value."""
    _, counts = np.unique(values, return_counts=True)
    return -float(np.log2(((counts / len(values)) ** 2).sum()))
