"""From a name or an object to the splits of a Hugging Face data set; the library is imported here alone, and late."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxnets.data.cache import prepared_by_content
from jaxnets.data.listing import folder
from jaxnets.data.shards import known_by
from jaxnets.data.table.reading import SPLITS
from jaxnets.errors import DataError, MissingExtra
from jaxnets.files import fingerprint, hash_folder


@contextmanager
def library() -> Iterator[Any]:
    """The module `datasets`, without bars and warnings. MissingExtra if it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import datasets
        except ImportError as error:
            raise MissingExtra("datasets", extra="hf", purpose="to read Hugging Face data sets") from error
        shown = not datasets.are_progress_bars_disabled()
        datasets.disable_progress_bars()
        try:
            yield datasets
        finally:
            if shown:
                datasets.enable_progress_bars()


def opened(name: str) -> dict[str, Any]:
    """{split: data set} of a folder that `save_to_disk` wrote, or of `NAME` or `NAME:CONFIGURATION` of the hub.

    The split is "" where the source names none. DataError if it cannot be opened, or has no split to train on.
    """
    place = folder(name)
    with library() as datasets:
        try:
            if place is not None:
                found: Any = datasets.load_from_disk(str(place))
            else:
                found = datasets.load_dataset(*name.split(":", 1))
        except Exception as error:  # of the library, of its network, of its file formats
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise DataError(
                f"hf:{name} cannot be opened: {reason[0]}; give a folder that save_to_disk wrote, or a name of the hub "
                "as in hf:ylecun/mnist or hf:nyu-mll/glue:sst2"
            ) from error
    return splits_of(found, name)


def splits_of(found: Any, name: str) -> dict[str, Any]:
    """train, valid and test of a dict of splits, whatever they are called there; "" of what has no splits."""
    if not isinstance(found, Mapping):
        return {"": found}
    own = {SPLITS[key]: part for key, part in found.items() if key in SPLITS}
    if "train" not in own or not len(own["train"]):
        raise DataError(f"hf:{name} has the splits {', '.join(found)}; it must have examples in train")
    return {split: own[split] for split in ("train", "valid", "test") if split in own}


def files_of(splits: Mapping[str, Any]) -> dict[str, str]:
    """{split and file: sha256} of the Arrow files that hold a data set."""
    found = {}
    for split, part in splits.items():
        for file in part.cache_files:
            path = Path(file["filename"])
            found[f"{split} {path.name}".strip()] = known_by([path])[path.name]
    return found


def from_hf(dataset: Any, name: str = "dataset") -> str:
    """A Dataset or DatasetDict as a source: written to the cache once for its content; give it as `data.source`."""
    with library() as datasets:
        if not isinstance(dataset, datasets.Dataset | datasets.DatasetDict):
            raise DataError(f"a {type(dataset).__name__} is no Dataset or DatasetDict; of a stream, take a part of it")

        def write(folder: Path) -> str:
            dataset.save_to_disk(str(folder))
            content = {file: key for file, key in hash_folder(folder).items() if not file.endswith("state.json")}
            return fingerprint(content)

        return f"hf:{prepared_by_content(f'hf/{name}', write)}"
