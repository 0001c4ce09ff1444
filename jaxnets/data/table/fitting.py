"""From the train rows of a column to a `Column`: what kind it is, and what is fitted to it.

Nothing here ever sees a row of another split.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from typing import Any

import numpy as np

from jaxnets.data.table import strays, values
from jaxnets.data.table.columns import Column, Columns, Kind

_FEW = 50  # different texts that are categories, whatever their share
_MANY = 0.2  # share of different texts from which on they are no categories
_MOST_VALUES = 10_000  # categories or repeated texts that are kept
_KNOTS = 512
_PERIODS = {"month": 365.2425 * 86400, "day": 30.436875 * 86400, "week": 7 * 86400.0, "hour": 86400.0}
_WORD = re.compile(r"[^\W\d_]+|\d+")


def words_of(text: str) -> set[str]:
    """The different words and whole numbers of a text, in lower case.

    >>> sorted(words_of("Braund, Mr. Owen, C85"))
    ['85', 'braund', 'c', 'mr', 'owen']
    """
    return set(_WORD.findall(text.lower()))


def fit(name: str, column: Any, wanted: str | None, options: Columns) -> Column:
    """The `Column` of these train values; `wanted` is the kind that the config asks for, None = inferred.

    Raises BadValue if the values are not of the kind that is asked for.
    """
    column = values._one(column)
    kind, reason, form = (wanted, "as the config says", "") if wanted else infer(name, column)
    match kind:
        case "number":
            found = None if wanted or values._numeric(column.type) else strays.among(column)
            if found is None:
                return _number(name, values.numbers(column), reason, options)
            return dataclasses.replace(_number(name, found.numbers, reason, options), strays=found.words)
        case "date":
            form = values.date_format(column) if wanted and not values.is_temporal(column.type) else form
            return _date(name, values.dates(column, form or ""), reason, form or "")
        case "category":
            return _category(name, values.texts(column), reason, options)
        case "text":
            return _text(name, values.texts(column), reason, options)
        case "identifier" | "constant" | "drop":
            return Column(name=name, kind=kind, reason=reason)
    raise ValueError(f"{kind} is no kind of column")


def infer(name: str, column: Any) -> tuple[Kind, str, str]:
    """(kind, why, format of dates) of the train values of a column."""
    import pyarrow

    if values.is_temporal(column.type):
        return "date", "dates", ""
    if not pyarrow.types.is_boolean(column.type):
        try:
            return (*_infer_number(name, values.numbers(column)), "")
        except values.BadValue as error:
            if values._numeric(column.type):
                return "number", str(error), ""  # infinite: fitting names the row
            if (few := strays.among(column)) is not None:
                return "number", few.told(), ""
    found = values.texts(column)
    given = found.drop_null()
    if len(given) == 0:
        return "constant", "no value is given", ""
    different = values.pc().count_distinct(given).as_py()
    if different == 1 and len(given) == len(found):
        return "constant", f"always {given[0].as_py()!r}", ""
    form = values.date_format(given) if _digits(given) else None
    if form is not None:
        return "date", f"all are dates{f' like {form}' if form else ''}", form
    if different <= _FEW and different < len(given) or different <= _MANY * len(given):
        return "category", f"{different} different values", ""
    if _repeated_words(given) or different <= 0.9 * len(given):
        return "text", f"{different} different values in {len(given)} rows", ""
    return "identifier", f"{different} different values in {len(given)} rows, and no word that comes again", ""


def _infer_number(name: str, x: np.ndarray) -> tuple[Kind, str]:
    given = x[~np.isnan(x)]
    if len(given) == 0:
        return "constant", "no value is given"
    if len(given) == len(x) and (given == given[0]).all():
        return "constant", f"always {given[0]:.6g}"
    whole = (given == np.round(given)).all()
    if whole and len(given) == len(x) > 2 and (np.diff(given) > 0).all():
        return "identifier", "whole numbers that only rise from row to row"
    named = re.search(r"(^|[_\W])(id|uuid|guid|index)$", name, re.I) or re.search(r"[a-z](Id|ID)$", name)
    if whole and named and len(np.unique(given)) == len(given) == len(x):
        return "identifier", "whole numbers, each different, and a name that says so"
    return "number", "whole numbers" if whole else "numbers"


def _digits(given: Any) -> bool:
    """Whether the first values look like dates at all."""
    return all(re.match(r"\d{1,4}\D?\d", text or "") for text in given[:20].to_pylist())


def _repeated_words(given: Any) -> bool:
    """Whether a word, no single letter or number, stands in a tenth of the texts: those of a hash do not."""
    counts = Counter(word for text in given[:5000].to_pylist() for word in words_of(text) if word[1:].isalpha())
    most = counts.most_common(1)
    return bool(most) and most[0][1] >= max(3, 0.1 * min(len(given), 5000))


def _number(name: str, x: np.ndarray, reason: str, options: Columns) -> Column:
    given = x[~np.isnan(x)]
    if len(given) == 0:
        return Column(name=name, kind="constant", reason="no value is given")
    knots = ()
    if options.numbers == "quantile" and len(np.unique(given)) > 2:
        levels = np.linspace(0, 1, int(np.clip(len(given) // 10, 10, _KNOTS)))
        knots = tuple(np.quantile(given, levels).tolist())
    return Column(name=name, kind="number", reason=reason, missing=len(given) < len(x), numbers=(name,), knots=knots,
                  **_moments([given]))  # fmt: skip


def _moments(parts: list[np.ndarray]) -> dict[str, Any]:
    stds = [float(part.std()) for part in parts]
    return {
        "means": tuple(float(part.mean()) for part in parts),
        "stds": tuple(std if std > 1e-12 else 1.0 for std in stds),
    }


def _date(name: str, seconds: np.ndarray, reason: str, form: str) -> Column:
    given = seconds[~np.isnan(seconds)]
    if len(given) == 0:
        return Column(name=name, kind="constant", reason="no value is given")
    span = given.max() - given.min()
    cycles = [cycle for cycle, period in _PERIODS.items() if span > period / 2]
    if (given % 86400 == 0).all():
        cycles = [cycle for cycle in cycles if cycle != "hour"]
    parts = [given, *(part for cycle in cycles for part in cyclic(given, cycle))]
    names = (name, *(f"{name} {part} of {cycle}" for cycle in cycles for part in ("sine", "cosine")))
    return Column(name=name, kind="date", reason=reason, missing=len(given) < len(seconds), numbers=names, format=form,
                  **_moments(parts))  # fmt: skip


def cyclic(seconds: np.ndarray, cycle: str) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine of where in a year, month, week or day a moment lies."""
    angle = 2 * np.pi * (seconds / _PERIODS[cycle])
    return np.sin(angle), np.cos(angle)


def _category(name: str, found: Any, reason: str, options: Columns) -> Column:
    counts = Counter(text for text in found.to_pylist() if text is not None)
    least = options.rare if len(found) >= 100 else 1
    kept = sorted((text for text, n in counts.items() if n >= least), key=lambda text: (-counts[text], text))
    if len(kept) < len(counts):
        reason += f", {len(counts) - len(kept)} of them too rare to know"
    return Column(name=name, kind="category", reason=reason, missing=found.null_count > 0,
                  values=tuple(kept[:_MOST_VALUES]))  # fmt: skip


def _text(name: str, found: Any, reason: str, options: Columns) -> Column:
    given = [text for text in found.to_pylist() if text is not None]
    if not given:
        return Column(name=name, kind="constant", reason="no value is given")
    counts = Counter(given)
    again = sorted((t for t, n in counts.items() if n > 1), key=lambda t: (-counts[t], t))[:_MOST_VALUES]
    seen = Counter(word for text in given for word in words_of(text))
    least, most = max(options.rare, 3, 0.005 * len(given)), 0.95 * len(given)
    frequent = sorted((w for w, n in seen.items() if least <= n <= most), key=lambda w: (-seen[w], w))
    column = Column(
        name=name, kind="text", reason=reason, missing=found.null_count > 0,
        numbers=(f"{name} seen", f"{name} length", f"{name} words"),
        values=tuple(again), counts=tuple(counts[text] for text in again), words=tuple(frequent[: options.words]),
    )  # fmt: skip
    numbers = text_numbers(column, given).T
    return Column(**{**column.__dict__, **_moments(list(numbers))})


def text_numbers(column: Column, given: list[str]) -> np.ndarray:
    """(n 3) how often a text was seen, as a logarithm; its length; its number of words."""
    counts = dict(zip(column.values, column.counts, strict=True))
    rows = [(np.log2(counts.get(t, 1)), np.log1p(len(t)), len(_WORD.findall(t))) for t in given]
    return np.asarray(rows, np.float64).reshape(-1, 3)
