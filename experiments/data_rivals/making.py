"""The files that the benchmark of data reads: synthetic pictures, sounds, tables and tokens, the same at every call."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np

CLASSES = 4
COLUMNS, MANY_COLUMNS = 10, 100  # of tables and of large ones, beside their target


def small(folder: Path, count: int) -> None:
    """JPEG files of 32 × 32, in a folder for each class."""
    _pictures(folder / "small", count, 32, 32)


def large(folder: Path, count: int) -> None:
    """JPEG files of 640 × 427, as photos of sets that are learned often are."""
    _pictures(folder / "large", count, 640, 427)


def parquet_pictures(folder: Path, count: int) -> None:
    """Encoded pictures of 32 × 32 and class numbers in the columns of one parquet file."""
    import pyarrow
    from pyarrow import parquet

    draw = np.random.default_rng(1)
    images = [_jpeg(draw, 32, 32) for _ in range(count)]
    table = pyarrow.table({"image": images, "label": np.arange(count) % CLASSES})
    parquet.write_table(table, folder / "pictures_train.parquet", row_group_size=512)


def sounds(folder: Path, count: int) -> None:
    """A second of noisy tone in each wav file: mono, 16 kHz, 16 bits."""
    draw, time = np.random.default_rng(2), np.arange(16000) / 16000
    for number in range(count):
        tone = np.sin(2 * np.pi * draw.uniform(100, 2000) * time) + 0.1 * draw.standard_normal(16000)
        with wave.open(str(_place(folder / "sounds", number, "wav")), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes((8000 * tone).astype("<i2").tobytes())


def tokens(folder: Path, count: int) -> None:
    """Windows of 256 tokens of GPT-2's vocabulary, as nanoGPT keeps them."""
    np.random.default_rng(3).integers(0, 50257, 256 * count + 1, dtype=np.uint16).tofile(folder / "tokens.bin")


def table(folder: Path, count: int) -> None:
    """Numbers with a target, as CSV, as parquet and as arrays."""
    import pyarrow
    from pyarrow import csv, parquet

    rows = _rows(np.random.default_rng(4), count, COLUMNS)
    csv.write_csv(pyarrow.table(rows), folder / "rows.csv")
    parquet.write_table(pyarrow.table(rows), folder / "rows.parquet")
    inputs = np.stack([rows[f"x{i}"] for i in range(COLUMNS)], axis=1)
    np.savez(folder / "table.npz", x=inputs, y=rows["target"])


def arrays(folder: Path, count: int) -> None:
    """Pictures of 28 × 28 and class numbers, as arrays."""
    draw = np.random.default_rng(5)
    images = draw.integers(0, 256, (count, 28, 28, 1), dtype=np.uint8)
    np.savez(folder / "arrays.npz", x=images, y=np.arange(count) % CLASSES)


def large_table(path: Path, size: int) -> None:
    """A parquet file of about `size` bytes, written piece by piece."""
    import pyarrow
    from pyarrow import parquet

    draw, rows = np.random.default_rng(6), 1 << 16
    first = pyarrow.table(_rows(draw, rows, MANY_COLUMNS))
    with parquet.ParquetWriter(path, first.schema, compression="none", use_dictionary=False) as writer:
        for _ in range(max(1, round(size / first.nbytes))):
            writer.write_table(pyarrow.table(_rows(draw, rows, MANY_COLUMNS)))


MAKERS: dict[str, Callable[[Path, int], None]] = {
    "jpeg 32": small,
    "jpeg 224": large,
    "parquet images": parquet_pictures,
    "csv": table,
    "parquet table": table,
    "wav": sounds,
    "tokens": tokens,
    "arrays": arrays,
}


def _rows(draw: np.random.Generator, count: int, columns: int) -> dict[str, np.ndarray]:
    found = {f"x{i}": draw.standard_normal(count, dtype=np.float32) for i in range(columns)}
    return found | {"target": found["x0"] - found["x1"]}


def _pictures(folder: Path, count: int, width: int, height: int) -> None:
    draw = np.random.default_rng(0)
    for number in range(count):
        _place(folder, number, "jpg").write_bytes(_jpeg(draw, width, height))


def _place(folder: Path, number: int, suffix: str) -> Path:
    path = folder / f"class{number % CLASSES}" / f"{number:06}.{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _jpeg(draw: np.random.Generator, width: int, height: int) -> bytes:
    """Smooth colours with a little grain, which compress about as photos do."""
    from PIL import Image

    coarse = Image.fromarray(draw.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((width, height))
    grain = draw.normal(0, 6, (height, width, 3))
    out = io.BytesIO()
    Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)).save(out, "JPEG", quality=90)
    return out.getvalue()
