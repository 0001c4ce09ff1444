"""What lies at a path: a table, a text, parquet files with pictures; alone, in a folder, with its other splits.

A table of paths of pictures and of texts about them is one of pairs, unless a column of it is asked for.

A folder may also hold files of pictures or of sound, in a folder for each class.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from jaxnets.data import pairs, pictures
from jaxnets.data.audio import decoding
from jaxnets.data.place import locate
from jaxnets.data.table import reading
from jaxnets.errors import UsageError, near

_TABLES = tuple(suffix for suffix in reading.SUFFIXES if suffix != ".txt")
_TEXTS = (".txt", ".md", ".rst", ".tex", ".py", ".c", ".log", ".html", ".xml")
_MEDIA: dict[Literal["images", "sounds"], tuple[str, tuple[str, ...]]] = {
    "images": ("images", pictures.SUFFIXES),
    "sounds": ("audio", decoding.SUFFIXES),
}  # kind of source, suffixes
_SAID = ("caption", "text", "sentence", "description", "title")  # what a column of texts about pictures is called
_PICTURES = ({"image", "label"}, (".parquet", ".pq"))  # columns and suffixes


class Found(NamedTuple):
    """What init goes on from.

    source: as `data.source`; name: for the config file; files: all that belong to it
    """

    kind: Literal["table", "text", "pictures", "images", "sounds", "pairs"]
    source: str
    name: str
    files: tuple[Path, ...]


def find(path: str, *, as_table: bool) -> Found:
    """What lies at a path, here or in JAXNETS_DATA; `as_table` reads a .txt file as a table.

    Raises UsageError if there is nothing, or nothing that can be drafted.
    """
    file = locate(path)
    if file is None and Path(path).is_dir():
        return _media(path) or _folder(Path(path), as_table=as_table)
    if file is None:
        raise UsageError(f"{path} is no file or folder{_near(Path(path))}; give one that is there")
    suffix = file.suffix.lower()
    if not as_table and suffix in _TABLES and pair_columns(file) is not None:
        return Found("pairs", f"pairs:{path}", file.stem, (file,))
    if suffix in _TABLES or (as_table and suffix == ".txt"):
        return _table(path, file)
    if suffix in _TEXTS:
        return Found("text", f"text:{path}", file.stem, (file,))
    raise UsageError(f"{path}: a {suffix or 'file without suffix'} is not known; {_allowed()}")


def pair_columns(file: Path) -> tuple[str, str] | None:
    """The columns of a table that hold paths of pictures, and what is said of each; None if it has not both."""
    names = reading.header(file)
    image, text = (next((name for name in usual if name in names), None) for usual in (pairs.COLUMNS, _SAID))
    if image is None or text is None:
        return None
    _, rows = next(reading.Reader(reading.Files((file,), ("",))).chunks((image,)))
    first = rows[image][0].as_py() if rows.num_rows else None
    is_path = isinstance(first, str) and Path(first).suffix.lower() in pictures.SUFFIXES
    return (image, text) if is_path else None


def _allowed() -> str:
    return (
        f"give a table ({', '.join(_TABLES)}), a text ({', '.join(_TEXTS)}), parquet files with image and label, or a "
        "folder with a folder of pictures or sounds for each class"
    )


def _near(path: Path) -> str:
    there = [str(path.parent / other.name) for other in path.parent.glob("*")] if path.parent.is_dir() else []
    return near(str(path), there)


def _table(path: str, file: Path) -> Found:
    """A file of rows and, by their names, the other splits that lie beside it."""
    splits = _siblings(file)
    stem = file.stem.rpartition("_")[0] if splits else file.stem
    files = tuple(splits.values()) or (file,)
    if file.suffix.lower() in _PICTURES[1] and _PICTURES[0] <= set(reading.header(file)):
        return Found("pictures", path, stem, files)
    if not splits:
        return Found("table", f"table:{path}", stem, files)
    words = ",".join(splits)
    return Found("table", f"table:{beside(path, stem)}_{{{words}}}{file.suffix}", stem, files)


def _siblings(file: Path) -> dict[str, Path]:
    """{word: file} of NAME_train and the others of its name, if it is one and has any."""
    stem, _, split = file.stem.rpartition("_")
    there = {word: file.with_name(f"{stem}_{word}{file.suffix}") for word in reading.SPLITS}
    there = {word: other for word, other in there.items() if other.is_file()}
    return there if stem and split in reading.SPLITS and "train" in there and len(there) > 1 else {}


def beside(path: str, name: str) -> str:
    """A name in the folder of a path, written as the path was.

    >>> beside("a/b_train.csv", "b"), beside("b_train.csv", "b")
    ('a/b', 'b')
    """
    folder, slash, _ = path.rpartition("/")
    return f"{folder}{slash}{name}"


def _media(path: str) -> Found | None:
    """A folder whose folders hold pictures or sounds: the kind of which there is more."""
    below = [file for file in sorted(Path(path).rglob("*")) if file.is_file() and not file.name.startswith(".")]
    inner = [file for file in below if file.parent != Path(path)]
    found: dict[Literal["images", "sounds"], tuple[Path, ...]] = {
        kind: tuple(file for file in inner if file.suffix.lower() in suffixes) for kind, (_, suffixes) in _MEDIA.items()
    }
    kind = max(found, key=lambda one: len(found[one]))
    if not found[kind]:
        return None
    return Found(kind, f"{_MEDIA[kind][0]}:{path}", Path(path).resolve().name, found[kind])


def _folder(folder: Path, *, as_table: bool) -> Found:
    """A folder with one file, with the splits of one set, or with tables of the same columns."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    known = [file for file in files if file.suffix.lower() in (*_TABLES, *_TEXTS)]
    first = next((file for file in known if file.stem.endswith("_train")), known[0] if known else None)
    if first is None:
        raise UsageError(f"{folder} holds no file that is known; {_allowed()}")
    found = find(str(first), as_table=as_table)
    left = [file for file in known if file not in found.files]
    if not left:
        return found
    suffixes = {file.suffix.lower() for file in known}
    if len(suffixes) == 1 and found.kind == "table" and found.files == (first,):
        reading.Reader(reading.Files(tuple(known), ("",) * len(known)))  # which names a file of other columns
        return Found("table", f"table:{folder}/*{first.suffix}", folder.resolve().name, tuple(known))
    raise UsageError(
        f"{folder} holds {', '.join(file.name for file in known[:6])}, which are not one set; give one of the files"
    )
