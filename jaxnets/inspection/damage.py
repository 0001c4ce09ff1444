"""Examples that cannot be read: those of a source that is read while training are tried before."""

from __future__ import annotations

import numpy as np

from jaxnets.data import Split
from jaxnets.errors import DataError
from jaxnets.inspection.finding import Finding, shares, spread
from jaxnets.inspection.view import View

_MOST = 2000  # examples of a split that are tried


def damaged(view: View) -> list[Finding]:
    """Examples of streamed splits that cannot be read, of an even share of each split."""
    found = []
    for name, split in view.dataset.splits.items():
        if split.reader is None or not split.length:
            continue
        tried = spread(split.length, _MOST)
        rows = tuple(words for example in tried if (words := _tried(split, int(example))) is not None)
        if rows:
            words = (
                f"{shares(len(rows), len(tried))} examples of the {name} split that were tried cannot be read; mend "
            )
            words += "or remove them, or leave them out: --data.on_bad skip"
            found.append(Finding("damaged", "error", words, len(rows), rows[:100]))
    return found


def _tried(split: Split, example: int) -> str | None:
    """What is wrong with an example, or None."""
    assert split.reader is not None
    leaves = split.reader.leaves
    out = {name: np.zeros((1, *leaf.shape), leaf.dtype) for name, leaf in leaves.items()}
    out["weight"] = np.ones(1, np.float32)
    try:
        split.reader.fill(split.row([example]), out, None)
    except DataError as error:
        return str(error).partition("; mend")[0]
    return None if out["weight"][0] else f"{split.where(example)}: skipped as unreadable"
