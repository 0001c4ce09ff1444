"""Whether a column of texts holds lists of labels, like "comedy|drama", and no classes or sentences."""

from __future__ import annotations

from collections import Counter
from typing import Any

from jaxnets.data.table import values
from jaxnets.data.table.targets import is_list, labels_in

_MOST = 200  # different labels
_AGAIN = 0.95  # share of the labels that are there more than once: words of sentences are not


def listed(column: Any) -> bool:
    """Whether these texts are fewer labels in more combinations than there are labels.

    >>> import pyarrow
    >>> listed(pyarrow.array(["a|b", "b", "a", None, "b|a|c", "c"]))
    True
    >>> listed(pyarrow.array(["Paris, FR", "Rome, IT", "Paris, FR", "Rome, IT"]))  # two classes
    False
    """
    if is_list(column.type) or values._numeric(column.type):
        return False
    texts = values.texts(column).drop_null().to_pylist()
    lists = [labels_in(text) for text in texts]
    if not any(len(one) > 1 for one in lists):
        return False
    counts = Counter(label for one in lists for label in one)
    again = sum(n for n in counts.values() if n > 1)
    return len(counts) <= _MOST and again >= _AGAIN * counts.total() and len(counts) < len(set(texts))
