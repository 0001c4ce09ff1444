"""The examples of each row of the benchmark, one by one, as they are read without a framework.

Used by the bare loop and inside the foreign environments, which have no jaxnets: NumPy, Pillow, pyarrow and soundfile
alone. Pictures are cut and scaled by the same calls as in jaxnets, at random places of the same distribution.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np


class Pictures:
    """Files of pictures in folders of classes, each cut at random and scaled to one square."""

    def __init__(self, folder: Path, side: int) -> None:
        self.paths = sorted(folder.glob("*/*.jpg"))
        classes = sorted({path.parent.name for path in self.paths})
        self.labels, self.side = [classes.index(path.parent.name) for path in self.paths], side

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return picture(self.paths[index].read_bytes(), self.side), self.labels[index]


class Encoded:
    """Encoded pictures in a column of a parquet file, which is held in memory as it is on the disk."""

    def __init__(self, file: Path, side: int) -> None:
        from pyarrow import parquet

        table = parquet.read_table(file)
        self.images, self.labels, self.side = table["image"], table["label"].to_numpy(), side

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return picture(self.images[index].as_py(), self.side), int(self.labels[index])


class Sounds:
    """Files of sound of one length and rate, in folders of classes."""

    def __init__(self, folder: Path, samples: int) -> None:
        self.paths = sorted(folder.glob("*/*.wav"))
        classes = sorted({path.parent.name for path in self.paths})
        self.labels, self.samples = [classes.index(path.parent.name) for path in self.paths], samples

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        import soundfile

        wave, _ = soundfile.read(self.paths[index], frames=self.samples, dtype="float32", always_2d=True)
        return wave.mean(axis=1), self.labels[index]


class Windows:
    """Windows of a file of uint16 tokens, which is mapped into memory."""

    def __init__(self, file: Path, window: int) -> None:
        self.tokens, self.window = np.memmap(file, np.uint16, mode="r"), window

    def __len__(self) -> int:
        return (len(self.tokens) - 1) // self.window

    def __getitem__(self, index: int) -> tuple[np.ndarray]:
        start = index * self.window
        return (self.tokens[start : start + self.window + 1].astype(np.int32),)


class Held:
    """Arrays in memory, of which `arrays` may be indexed whole batches at once."""

    def __init__(self, file: Path) -> None:
        with np.load(file) as found:
            self.arrays = tuple(found[name] for name in sorted(found.files))

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return tuple(array[index] for array in self.arrays)


def examples(row: str, folder: Path) -> Any:
    """The examples of a row of the benchmark, from the files in `folder`."""
    match row:
        case "jpeg 32":
            return Pictures(folder / "small", 32)
        case "jpeg 224":
            return Pictures(folder / "large", 224)
        case "parquet images":
            return Encoded(folder / "pictures_train.parquet", 32)
        case "wav":
            return Sounds(folder / "sounds", 16000)
        case "tokens":
            return Windows(folder / "tokens.bin", 256)
        case "csv" | "parquet table":
            return Held(folder / "table.npz")
    return Held(folder / "arrays.npz")


def picture(encoded: bytes, side: int) -> np.ndarray:
    """(side, side, 3) uint8: a random part of a picture."""
    from PIL import Image

    with Image.open(io.BytesIO(encoded)) as opened:
        whole = opened.convert("RGB")
    box = random_box(*whole.size)
    return np.asarray(whole.resize((side, side), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0))


def random_box(width: int, height: int) -> tuple[float, float, float, float]:
    """8 % to 100 % of the area, 3:4 to 4:3, anywhere; the whole picture if ten do not fit."""
    for _ in range(10):
        area = np.random.uniform(0.08, 1.0) * width * height
        aspect = math.exp(np.random.uniform(-math.log(4 / 3), math.log(4 / 3)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, upper = np.random.randint(width - w + 1), np.random.randint(height - h + 1)
            return left, upper, left + w, upper + h
    return 0, 0, width, height
