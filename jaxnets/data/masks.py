"""Pictures with a class for every pixel: FOLDER/images/NAME.jpg and FOLDER/masks/NAME.png, with train and test above.

A mask has one channel of class numbers, 255 where the class is not known; masks of 0 and 255 alone are background and
foreground. The classes are named by FOLDER/classes.txt, a line each, or by their numbers in the train masks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxnets.data.draws import Draw
from jaxnets.data.kept import Kept
from jaxnets.data.listing import Listing
from jaxnets.data.pictures import BadPicture, Decoded, Images, cut_out, decoded, opened
from jaxnets.data.reader import Bad, Leaf
from jaxnets.data.stream import workers_of
from jaxnets.errors import DataError

UNKNOWN = 255  # in a mask: a pixel that counts nowhere
_IMAGES, _MASKS = "images", "masks"


class Classes(NamedTuple):
    """names: of the numbers 0 and on; binary: the masks hold 0 and 255 alone, which stand for 0 and 1."""

    names: tuple[str, ...]
    binary: bool


class PairReader:
    """Pictures and their masks by their number in a listing (see Reader); a bad mask makes a bad row."""

    def __init__(self, listing: Listing, config: Images, bad: Bad, known: Classes) -> None:
        self.listing, self._config, self._bad, self._known = listing, config, bad, known
        self._kept = Kept(len(listing), most=int(config.keep_gib * 2**30))

    @property
    def classes(self) -> tuple[str, ...]:
        return self._known.names

    @property
    def leaves(self) -> Mapping[str, Leaf]:
        size = self._config.size
        return {"inputs": Leaf((size, size, 3), "uint8"), "targets": Leaf((size, size), "int32")}

    def fill(self, rows: np.ndarray, out: Mapping[str, np.ndarray], draws: np.ndarray | None, /) -> None:
        for place, row in enumerate(rows.tolist()):
            draw = None if draws is None else Draw(draws[place])
            try:
                pixels, numbers = cut_out(self._kept(row, self._decoded), self._config, draw)
                out["targets"][place] = self._checked(numbers)
                out["inputs"][place] = pixels
            except (BadPicture, OSError) as error:
                out["weight"][place] = 0  # unless the next line raises
                path, mask = self._pair(row)
                self._bad(f"{path} with {mask}", f"not a readable pair ({error})")

    def _decoded(self, row: int) -> Decoded:
        path, mask = self._pair(row)
        return decoded(path.read_bytes(), mask.read_bytes())

    def _pair(self, row: int) -> tuple[Path, Path]:
        return self.listing.file(row), self.listing.root / str(self.listing.columns["mask"][row])

    def _checked(self, numbers: np.ndarray | None) -> np.ndarray:
        assert numbers is not None
        found = np.unique(numbers)
        allowed = (0, UNKNOWN) if self._known.binary else (*range(len(self.classes)), UNKNOWN)
        odd = found[~np.isin(found, allowed)]
        if odd.size:
            raise BadPicture(f"the mask holds {odd[0]}, which is none of the {len(self.classes)} classes")
        return numbers // UNKNOWN if self._known.binary else numbers


def are_pairs(listing: Listing) -> bool:
    """Whether these are pictures and masks, and no classes.

    >>> are_pairs(Listing(Path(), ("images/a.jpg", "masks/a.png"), None, ("images", "masks")))
    True
    """
    return listing.classes == (_IMAGES, _MASKS) and not listing.columns


def paired(listing: Listing) -> Listing:
    """The pictures alone, each with its mask's path in the column `mask`. DataError names one without the other."""
    kinds: dict[str, dict[str, int]] = {_IMAGES: {}, _MASKS: {}}
    for index, path in enumerate(listing.paths):
        assert listing.labels is not None
        own = kinds[listing.classes[listing.labels[index]]]
        key = _key(path)
        if key in own:
            raise DataError(f"{listing.file(own[key])} and {listing.file(index)} have one name; rename one")
        own[key] = index
    for one, other in ((_IMAGES, _MASKS), (_MASKS, _IMAGES)):
        alone = [index for key, index in kinds[one].items() if key not in kinds[other]]
        if alone:
            raise DataError(
                f"{listing.file(alone[0])} has no file of its name in {other} ({len(alone)} are like it); give pairs"
            )
    kept = listing.take(list(kinds[_IMAGES].values()))
    mask = tuple(listing.paths[kinds[_MASKS][key]] for key in kinds[_IMAGES])
    return dataclasses.replace(kept, labels=None, classes=(), columns={"mask": mask})


def _key(path: str) -> str:
    """A path without its ending and without the folder that says what it is."""
    parts = path.rpartition(".")[0].split("/")
    place = next(i for i, part in enumerate(parts) if part in (_IMAGES, _MASKS))
    return "/".join(parts[:place] + parts[place + 1 :])


def classes_of(listing: Listing, workers: int | None) -> Classes:
    """What the masks of the train files hold, all of which are read once; names from classes.txt if it is there."""
    train = [i for i in range(len(listing)) if not listing.splits or listing.splits[i] == "train"]
    paths = [listing.root / str(listing.columns["mask"][i]) for i in train]
    with ThreadPoolExecutor(max(1, workers_of(workers))) as pool:
        found = np.flatnonzero(sum(pool.map(_levels, paths), np.zeros(256, np.int64)))
    file = listing.root / "classes.txt"
    names = tuple(file.read_text(encoding="utf-8").split("\n")) if file.is_file() else ()
    names = tuple(name.strip() for name in names if name.strip())
    if found.tolist() == [0, UNKNOWN] and len(names) in (0, 2):
        return Classes(names or ("background", "foreground"), True)
    count = int(found[found != UNKNOWN].max(initial=-1)) + 1
    if names and len(names) < count:
        raise DataError(f"{file} names {len(names)} classes, but the masks hold {count}; name all, a line each")
    if max(count, len(names)) < 2:
        raise DataError(f"{listing.root}: the masks hold one class alone; nothing is to learn")
    return Classes(names or tuple(map(str, range(count))), False)


def _levels(path: Path) -> np.ndarray:
    """(256,) how many pixels of a mask have each number; none if it cannot be read, which is told when it is wanted."""
    try:
        return np.asarray(opened(path.read_bytes(), None).histogram()[:256], np.int64)
    except (BadPicture, OSError):
        return np.zeros(256, np.int64)
