"""`mixture:SHARE*SOURCE + SHARE*SOURCE …`: several sources of one schema, each with its share of the training stream.

Which source has its turn, and which of its examples, is a pure function of seed and batch number (see data.order);
each source runs through its own epochs, however many it takes. Validation and test hold every example of all once.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from jaxnets.data.order import CYCLE, Groups, Mixture
from jaxnets.data.pipeline import gather
from jaxnets.data.reader import Leaf
from jaxnets.data.schema import Dataset, Schema, Split
from jaxnets.errors import ConfigError, DataError
from jaxnets.files import fingerprint

if TYPE_CHECKING:
    from jaxnets.data.source import Data

_MOST = 64  # sources
_OWN = ("source", "fingerprint", "counts", "files", "input_mean", "input_std", "target_mean", "target_std")


class Source(NamedTuple):
    """One source of a mixture and its share of the stream."""

    share: float
    source: str


def sources_of(name: str) -> tuple[Source, ...]:
    """The sources behind `mixture:`, with shares that add up to 1. ConfigError for words that are none.

    >>> sources_of("3*tokens:code_* + 1*tokens:web_*")
    (Source(share=0.75, source='tokens:code_*'), Source(share=0.25, source='tokens:web_*'))
    """
    pairs = [part.strip().partition("*") for part in name.split(" + ")]
    shares = [_share(share, source, name) for share, _, source in pairs]
    if len({source.strip() for _, _, source in pairs}) != len(pairs) or not 2 <= len(pairs) <= _MOST:
        raise ConfigError(
            f"data.source mixture:{name} must name 2 to {_MOST} different sources; put ' + ' between them"
        )
    if min(shares) / sum(shares) < 1 / CYCLE:
        raise ConfigError(f"data.source mixture:{name}: each source must have at least 1/{CYCLE} of the sum of shares")
    return tuple(
        Source(share / sum(shares), source.strip()) for share, (_, _, source) in zip(shares, pairs, strict=True)
    )


def _share(share: str, source: str, name: str) -> float:
    try:
        found = float(share)
    except ValueError:
        found = math.nan
    if not (0 < found < math.inf) or not source.strip() or source.strip().startswith("mixture:"):
        raise ConfigError(
            f"data.source mixture:{name}: {share}*{source} is not allowed; give a number above 0 and a source that is "
            "no mixture, as in mixture:0.7*arrays:a.npz + 0.3*arrays:b.npz"
        )
    return found


def read(config: Data, name: str, load: Callable[[Data], Dataset]) -> Dataset:
    """The sources of a mixture as one. Raises what they raise, and DataError if their schemas do not agree."""
    sources = sources_of(name)
    parts = [load(dataclasses.replace(config, source=one.source)) for one in sources]
    schemas = [part.schema for part in parts]
    if schemas[0].input_kind == "pair":
        raise DataError(
            f"{config.source} mixes pairs, whose numbers say in their own source alone what is shared; give one table"
        )
    for one, schema in zip(sources[1:], schemas[1:], strict=True):
        _agree(sources[0].source, schemas[0], one.source, schema)
    named = [(part, ((one.source, 0),)) for one, part in zip(sources, parts, strict=True)]
    splits = {
        split: _joined([p.splits[split]._replace(origins=p.splits[split].origins or own) for p, own in named])
        for split in ("train", "valid", "test")
    }
    shares = [one.share for one in sources]
    own = [part.splits["train"] for part in parts]
    mixture = Mixture(tuple(one.length for one in own), tuple(shares), tuple(_groups(one) for one in own))
    splits["train"] = splits["train"]._replace(groups=mixture)
    files = {f"{i} {file}": key for i, schema in enumerate(schemas) for file, key in schema.files}
    mean, std = _mixed(shares, [(schema.input_mean, schema.input_std) for schema in schemas])
    target_mean, target_std = _mixed(shares, [(schema.target_mean, schema.target_std) for schema in schemas])
    schema = dataclasses.replace(
        schemas[0],
        source=config.source,
        fingerprint=fingerprint({f"{one}": schema.fingerprint for one, schema in zip(sources, schemas, strict=True)}),
        input_mean=mean,
        input_std=std,
        target_mean=target_mean,
        target_std=target_std,
        counts=tuple((split, part.length) for split, part in splits.items()),
        files=tuple(files.items()),
    )
    return Dataset(schema, splits)


def _agree(first: str, one: Schema, second: str, other: Schema) -> None:
    """DataError unless both hold the same kind of examples."""
    for field in dataclasses.fields(Schema):
        if field.name in _OWN:
            continue
        left, right = getattr(one, field.name), getattr(other, field.name)
        if left == right:
            continue
        if field.name in ("columns", "parts"):
            raise DataError(
                f"{first} and {second} are tables, whose columns are fitted to each alone; give one table: of several "
                "files, as in table:rows_*.csv"
            )
        raise DataError(
            f"{second} does not agree with {first}: {field.name} {_short(right)} against {_short(left)}; "
            "the sources of a mixture must have one schema"
        )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _groups(split: Split) -> Groups | None:
    assert not isinstance(split.groups, Mixture)
    return split.groups


def _mixed(shares: Sequence[float], moments: Sequence[tuple[tuple[float, ...], tuple[float, ...]]]) -> Any:
    """Mean and deviation of the mixture: E[x] = Σ p·m and Var[x] = Σ p·(s² + m²) − E[x]²; () where there are none."""
    if not moments[0][0]:
        return (), ()
    p = np.asarray(shares)[:, None]
    means, stds = (np.asarray([pair[i] for pair in moments]) for i in (0, 1))
    mean = (p * means).sum(axis=0)
    variance = (p * (stds**2 + (means - mean) ** 2)).sum(axis=0)
    return tuple(mean.tolist()), tuple(np.sqrt(variance).tolist())


def _joined(splits: Sequence[Split]) -> Split:
    """One split of all examples, source after source; arrays stay arrays where all of them are."""
    begins = np.cumsum([0, *(_extent(split) for split in splits[:-1])]).tolist()
    rows = [begin + split.row(np.arange(split.length)) for begin, split in zip(begins, splits, strict=True)]
    origins = tuple((name, begin + row) for begin, s in zip(begins, splits, strict=True) for name, row in s.origins)
    plain = all(split.reader is None and split.window is None for split in splits)
    whole = Split(
        {},
        sum(split.length for split in splits),
        splits[0].window,
        splits[0].window or 1,
        rows=np.concatenate(rows),
        origins=origins,
        reader=None if plain else Parts(splits, begins),
    )
    return whole._replace(arrays=_concatenated(splits, whole.reader))


def _extent(split: Split) -> int:
    """One more than the last row of a split, the tokens of its last window included."""
    return int(split.row(np.arange(split.length)).max(initial=-1)) + 1 + (split.window or 0)


def _concatenated(splits: Sequence[Split], reader: Any) -> dict[str, Any]:
    """What all splits hold in memory, example by example; what the reader reads is left out."""
    read = {"tokens"} | (set() if reader is None else set(reader.leaves))
    kept = [{name: array for name, array in split.arrays.items() if name not in read} for split in splits]
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *kept)


class Parts:
    """Rows of several splits, each read as its own source reads them (see Reader).

    begins: the first row of each split; those of the next begin where those of one end
    """

    def __init__(self, splits: Sequence[Split], begins: Sequence[int]) -> None:
        self._splits, self._begins = splits, np.asarray(begins)

    @property
    def leaves(self) -> Mapping[str, Leaf]:
        first = next((split.reader for split in self._splits if split.reader is not None), None)
        if first is not None:
            return first.leaves
        return {"inputs": Leaf(((self._splits[0].window or 0) + 1,), "int32")}

    def fill(self, rows: np.ndarray, out: Mapping[str, np.ndarray], draws: np.ndarray | None, /) -> None:
        sources = np.searchsorted(self._begins, rows, side="right") - 1
        for source in np.unique(sources):
            mine = np.flatnonzero(sources == source)
            own = {name: array[mine] for name, array in out.items()}
            self._fill(
                self._splits[source], rows[mine] - self._begins[source], own, None if draws is None else draws[mine]
            )
            for name, array in own.items():
                out[name][mine] = array

    def _fill(self, split: Split, rows: np.ndarray, out: dict[str, np.ndarray], draws: np.ndarray | None) -> None:
        if split.reader is not None:
            split.reader.fill(rows, out, draws)
            return
        ids = (rows - split.first) if split.rows is None else np.searchsorted(split.rows, rows)
        found = gather(split.arrays, ids, window=split.window)
        out |= {name: found[name].astype(out[name].dtype) for name in self.leaves}
