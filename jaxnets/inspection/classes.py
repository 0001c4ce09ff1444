"""How many examples each class has, and whether all that is tested on was learnt."""

from __future__ import annotations

import numpy as np

from jaxnets.inspection.finding import Finding, named, shares
from jaxnets.inspection.view import View

_TINY = 10  # examples of the train split
_RARE = 0.05  # share of the rarest class, times two over the number of classes


def balance(view: View) -> list[Finding]:
    """Classes of which there is little to learn from, and sets that one class makes up."""
    train = view.split("train")
    if view.schema.target_kind != "class" or not train.length:
        return []
    counts = np.bincount(train.arrays["targets"], minlength=len(view.schema.classes))
    found = []
    tiny = np.flatnonzero((counts > 0) & (counts < _TINY))
    if len(tiny):
        rows = named(train, np.flatnonzero(np.isin(train.arrays["targets"], tiny)))
        each = ", ".join(f"{view.schema.classes[i]} ({counts[i]})" for i in tiny[:5]) + (", …" if len(tiny) > 5 else "")
        words = f"{len(tiny)} class(es) with fewer than {_TINY} examples to train on: {each}; add some, or merge them"
        found.append(Finding("tiny class", "warning", words, int(counts[tiny].sum()), rows))
    least, most = counts.argmin(), counts.argmax()
    if counts[least] < _RARE * 2 / len(counts) * counts.sum() and not found:
        rare, common = (
            f"class {view.schema.classes[i]} is {shares(int(counts[i]), int(counts.sum()))}" for i in (least, most)
        )
        words = f"{rare} of the train split, {common}; accuracy says little, and --task.class_weights make up for it"
        found.append(Finding("imbalance", "warning", words))
    return found


def unlearnt(view: View) -> list[Finding]:
    """Classes of the other splits that the train split has no example of."""
    if view.schema.target_kind != "class" or not view.split("train").length:
        return []
    known = np.unique(view.split("train").arrays["targets"])
    found = []
    for name in ("valid", "test"):
        split = view.split(name)
        odd = np.flatnonzero(~np.isin(split.arrays["targets"], known))
        if len(odd):
            classes = ", ".join(view.schema.classes[i] for i in np.unique(split.arrays["targets"][odd])[:5])
            words = f"{shares(len(odd), split.length)} of the {name} split are of classes never trained on: {classes}"
            found.append(Finding("unlearnt class", "warning", words, len(odd), named(split, odd)))
    return found
