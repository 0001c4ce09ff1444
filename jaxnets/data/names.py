"""What the names of files say: `{label}_{speaker}_{index}.wav` as columns."""

from __future__ import annotations

import dataclasses
import re

from jaxnets.data.listing import LABELS, Listing, number
from jaxnets.data.reader import Bad
from jaxnets.errors import ConfigError, near


def with_names(listing: Listing, pattern: str | None, bad: Bad, *, label: str | None = None) -> Listing:
    """The listing with a column for each field of `pattern`; the field `label`, or another that is named, is the class.

    pattern: of the file's name, or of its path where it holds a /; text between the fields stands as it is
    bad:     is told files whose name does not fit, which are then left out
    Raises ConfigError for a pattern without fields, or that lacks the label that is wanted.
    """
    if pattern is None:
        return listing
    fields = expression(pattern)
    names = list(fields.groupindex)
    found = [fields.fullmatch(path if "/" in pattern else path.rpartition("/")[2]) for path in listing.paths]
    for path, match in zip(listing.paths, found, strict=True):
        if match is None:
            bad(str(listing.root / path), f"its name does not fit data.names {pattern!r}")
    kept = listing.take([index for index, match in enumerate(found) if match is not None])
    matches = [match for match in found if match is not None]
    columns = {name: tuple(match[name] for match in matches) for name in names}
    kept = dataclasses.replace(kept, columns={**kept.columns, **columns})
    if label is not None and label not in kept.columns:
        raise ConfigError(f"data.target {label} is no field of data.names {pattern!r}{near(label, kept.columns)}")
    chosen = label or next((name for name in LABELS if name in names), None)
    if chosen is None:
        return kept
    labels, classes = number([str(word) for word in kept.columns[chosen]])
    return dataclasses.replace(kept, labels=labels, classes=classes)


def expression(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression with a group for each field; ConfigError if it has none, or one twice.

    >>> expression("{label}_{speaker}.wav").fullmatch("7_ann.wav").groupdict()
    {'label': '7', 'speaker': 'ann'}
    """
    parts = re.split(r"\{(\w+)\}", pattern)
    text = "".join(f"(?P<{part}>[^/]+?)" if i % 2 else re.escape(part) for i, part in enumerate(parts))
    try:
        found = re.compile(text)
    except re.error as error:
        raise ConfigError(f"data.names {pattern!r} is not allowed: {error}; name each field once") from error
    if not found.groupindex:
        raise ConfigError(f"data.names {pattern!r} holds no field; give it as in {{label}}_{{speaker}}.wav")
    return found
