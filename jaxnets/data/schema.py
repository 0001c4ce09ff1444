"""What a source holds: names, shapes, classes, and what was fitted on its train split; saved with every run."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.data.audio.spectrum import Sound, log_mel
from jaxnets.data.order import Groups, Mixture
from jaxnets.data.reader import Reader
from jaxnets.data.table.columns import Column
from jaxnets.data.timeseries.config import Fitting
from jaxnets.data.timeseries.fitting import scaled, scaled_shapes
from jaxnets.errors import DataError

HALVES: tuple[Literal["image", "text"], ...] = ("image", "text")  # of a pair


class Part(NamedTuple):
    """One array of inputs that are several: its name, the shape of one example, its dtype.

    sizes: of codes, how many each place of an example can take
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    sizes: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schema:
    """Reused as it is by evaluation, prediction and serving.

    input_mean, input_std: of the train split alone; a channel (of images scaled to 0..1) or a feature each
    target_mean, target_std: of the train split alone, in the user's unit
    fingerprint: sha256 of the content; files: (name, sha256) of what it was read from
    parts: of inputs that are a dict of arrays; none = inputs are one array of input_shape and input_dtype
    columns: of a table, each with what was fitted to it
    sound: how a model sees waves of input_shape; its mean and deviation are of bands, or of all samples
    tokenizer: of text, as JSON; none = bytes; crop: what is kept of a long text; separator: token before a document
    series: of time series, for each of which there are target moments, one series after the other
    """

    source: str
    fingerprint: str
    input_kind: Literal["image", "row", "token", "table", "sound", "text", "window", "video", "pair"]
    input_shape: tuple[int, ...]
    input_dtype: str
    target_kind: Literal["class", "real", "token", "labels", "mask", "series", "pair"]
    feature_names: tuple[str, ...] = ()
    input_mean: tuple[float, ...] = ()
    input_std: tuple[float, ...] = ()
    classes: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()
    target_mean: tuple[float, ...] = ()
    target_std: tuple[float, ...] = ()
    vocabulary_size: int = 0
    counts: tuple[tuple[str, int], ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    parts: tuple[Part, ...] = ()
    columns: tuple[Column, ...] = ()
    sound: Sound | None = None
    tokenizer: str = ""
    crop: str = ""
    separator: int | None = None
    series: Fitting | None = None

    @property
    def num_outputs(self) -> int:
        """What a model's head must have: classes, labels, targets or tokens; a mask has a class for every pixel."""
        match self.target_kind:
            case "class" | "labels" | "mask":
                return len(self.classes)
            case "real":
                return len(self.target_names)
            case "series":
                return (self.series.horizon if self.series else 0) * len(self.target_names)
        return self.vocabulary_size

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """How many codes each category of a table has."""
        return next((part.sizes for part in self.parts if part.name == "categories"), ())

    def half(self, name: Literal["image", "text"]) -> Schema:
        """Of pairs, the schema of their images or of their texts alone."""
        part = next(part for part in self.parts if part.name == name)
        return dataclasses.replace(
            self, input_kind=name, input_shape=part.shape, input_dtype=part.dtype, parts=(),
            **({"input_mean": (), "input_std": ()} if name == "text" else {}),
        )  # fmt: skip

    def inputs(self, batch: Any, *, length: int | None = None, raw: bool = True) -> Any:
        """Shapes of a batch of inputs, as the source holds them or as a model takes them; `batch` may be symbolic.

        length: tokens of a window, where it is not that of the data
        """
        if self.input_kind == "pair":
            return {name: self.half(name).inputs(batch, raw=raw) for name in HALVES}
        if self.parts:
            shapes = {part.name: jax.ShapeDtypeStruct((batch, *part.shape), part.dtype) for part in self.parts}
            return shapes if raw or self.input_kind != "window" else scaled_shapes(shapes)
        if self.input_kind == "token":
            return jax.ShapeDtypeStruct((batch, *(self.input_shape if length is None else (length,))), "int32")
        if self.sound is not None and not raw:
            return jax.ShapeDtypeStruct((batch, *self.sound.shape(*self.input_shape)), "float32")
        dtype = self.input_dtype if raw or self.input_kind == "text" else "float32"
        return jax.ShapeDtypeStruct((batch, *self.input_shape), dtype)

    def to_json(self) -> dict[str, Any]:
        """JSON values; pairs become objects."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        nested = {
            "parts": [part._asdict() for part in self.parts],
            "columns": [column.to_json() for column in self.columns],
            "sound": None if self.sound is None else self.sound._asdict(),
            "series": None if self.series is None else self.series._asdict(),
        }
        return values | {"counts": dict(self.counts), "files": dict(self.files)} | nested

    @classmethod
    def from_json(cls, values: Any) -> Schema:
        """The schema of `schema.json`. Raises DataError naming what is missing or unknown."""
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(values, Mapping) or set(values) != names:
            found = set(values) if isinstance(values, Mapping) else set()
            odd = ", ".join(sorted(names ^ found))
            raise DataError(f"schema.json is not a schema: {odd} missing or unknown; restore the file")
        values = dict(values)
        for name in ("counts", "files"):
            values[name] = tuple(values[name].items())
        parts: Any = [{n: tuple(v) if isinstance(v, list) else v for n, v in part.items()} for part in values["parts"]]
        values["parts"] = tuple(Part(**part) for part in parts)
        values["columns"] = tuple(map(Column.from_json, values["columns"]))
        values["sound"] = None if values["sound"] is None else Sound(**values["sound"])
        if values["series"] is not None:
            series: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in values["series"].items()}
            values["series"] = Fitting(**series)
        kinds = typing.get_type_hints(cls)
        typed: dict[str, Any] = {n: tuple(v) if typing.get_origin(kinds[n]) is tuple else v for n, v in values.items()}
        return cls(**typed)


class Split(NamedTuple):
    """One split: `inputs` and `targets`, or `tokens` that are read in windows, in memory or read row by row.

    Example i of tokens covers `tokens[i·stride : i·stride + window + 1]`.

    arrays:  what is in memory, example by example; of a streamed split its targets at most
    reader:  what reads the rest of a streamed split by `rows`; None = all is in memory

    rows:    (length,) where each example stands in the source; None = it begins at token `first` + i·stride
    origins: (name, first row) of each file of the source, in order
    groups:  which examples of a streamed split lie together, or come from which source; None = all are as near

    >>> split = Split({}, 2, rows=np.array([4, 12]), origins=(("a.parquet", 0), ("b.parquet", 10)))
    >>> split.row(np.array([1])).tolist(), split.where(1)
    ([12], 'b.parquet, row 2')
    """

    arrays: dict[str, Any]  # numpy arrays, or dicts of them where inputs have parts
    length: int  # examples
    window: int | None = None  # tokens
    stride: int = 1  # tokens
    rows: np.ndarray | None = None
    first: int = 0  # token
    origins: tuple[tuple[str, int], ...] = ()
    reader: Reader | None = None
    groups: Groups | Mixture | None = None

    def row(self, ids: Any) -> np.ndarray:
        """The rows, or first tokens, of these examples in the source."""
        ids = np.asarray(ids, np.int64)
        return np.asarray(self.first + self.stride * ids if self.rows is None else self.rows[ids])

    def where(self, example: int) -> str:
        """An example's file and row, for a message."""
        row = int(self.row(example))
        name, start = next(((n, s) for n, s in reversed(self.origins) if s <= row), ("", 0))
        unit = "row" if self.window is None else "byte" if self.reader is None else "token"
        return f"{name}, {unit} {row - start}".lstrip(", ")


class Dataset(NamedTuple):
    """A source, read: its schema and its disjoint splits train, valid and test."""

    schema: Schema
    splits: dict[str, Split]


def pixel_schema(
    source: str,
    splits: Mapping[str, Split],
    *,
    shape: tuple[int, ...],
    classes: Iterable[str],
    fitted: tuple[tuple[float, ...], tuple[float, ...]],
    fingerprint: str,
    files: Mapping[str, str] | None = None,
    target_kind: Literal["class", "mask"] = "class",
) -> Schema:
    """The schema of images in bytes, or of clips: whatever they are read from.

    shape:  (height, width, channels), or (frames, height, width, channels)
    fitted: mean and standard deviation of each channel on the train split; ((), ()) = not standardised
    """
    mean, std = fitted
    return Schema(
        source=source,
        fingerprint=fingerprint,
        input_kind="video" if len(shape) == 4 else "image",
        input_shape=shape,
        input_dtype="uint8",
        target_kind=target_kind,
        input_mean=mean,
        input_std=std,
        classes=tuple(classes),
        counts=tuple((name, split.length) for name, split in splits.items()),
        files=tuple((files or {}).items()),
    )


def preprocess(schema: Schema, inputs: Any) -> Any:
    """Raw inputs as a model takes them: images scaled to 0..1, sound as log-mel, all of it standardised, else as it is.

    The rows of a table were encoded on the host already, by `data.table.encoding`.
    """
    if schema.input_kind in ("token", "table", "text"):
        return inputs
    if schema.input_kind == "window":
        return scaled(schema, inputs)
    if schema.input_kind == "pair":
        return {name: preprocess(schema.half(name), inputs[name]) for name in HALVES}
    inputs = jnp.asarray(inputs)
    if schema.sound is not None and schema.sound.mels:
        inputs = log_mel(inputs, schema.sound)
    x = inputs.astype(jnp.float32) / 255.0 if inputs.dtype == jnp.uint8 else inputs.astype(jnp.float32)
    if not schema.input_mean:
        return x
    ones = (1,) * (x.ndim - 1)
    mean = jnp.asarray(schema.input_mean, jnp.float32).reshape(*ones, -1)
    std = jnp.asarray(schema.input_std, jnp.float32).reshape(*ones, -1)
    return (x - mean) / std


def moments(values: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation over all axes but the last, in float64; a constant has the deviation 1.

    >>> moments(np.array([[1.0, 5.0], [3.0, 5.0]]))
    ((2.0, 5.0), (1.0, 1.0))
    """
    flat = values.reshape(-1, values.shape[-1])
    scale = 255.0 if values.dtype == np.uint8 else 1.0
    mean = flat.mean(axis=0, dtype=np.float64) / scale
    std = flat.std(axis=0, dtype=np.float64) / scale
    return tuple(mean.tolist()), tuple(np.where(std > 1e-12, std, 1.0).tolist())
