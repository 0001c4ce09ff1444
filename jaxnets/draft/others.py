"""Conclusions about a text and about parquet files with pictures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from jaxnets.config import Experiment
from jaxnets.data import Data, Images, load
from jaxnets.draft import choice
from jaxnets.draft.outline import Outline, answered
from jaxnets.draft.place import Found, beside
from jaxnets.errors import DataError, UsageError
from jaxnets.inspection import cheap
from jaxnets.tasks import Classification, LanguageModelling

_LOOKED_AT = 200  # pictures whose size is asked for
_IN_MEMORY = 1 << 30  # bytes of pixels, up to which pictures are decoded once
_SIZES = (32, 64, 128, 224)  # pixels a side that pictures of different sizes are brought to


def text(found: Found) -> Outline:
    """A language model on the bytes of a text."""
    size = found.files[0].stat().st_size
    chosen = choice.for_text(size)
    context = chosen.model.context
    if size < 40 * context:
        raise UsageError(f"{found.files[0]} holds {size} bytes; a text to learn from has {40 * context} or more")
    data = Data(source=found.source, batch_size=chosen.batch_size, context=context, valid=0.1, test=0.05)
    reasons = chosen.reasons | {
        "data.context": "bytes of a window",
        "data.test": "share of the text, its beginning, that is tested on",
        "data.valid": "share, its end, that chooses the best weights",
    }
    experiment = Experiment(
        data=data, model=chosen.model, task=LanguageModelling(), optim=chosen.optim, loop=chosen.loop
    )
    lines = [f"then jaxnets generate runs/{found.name} --prompt TEXT"]
    return Outline(experiment, f"{found.name}: the next byte of a text of {size:,} bytes.", lines, reasons)


def pictures(found: Found) -> Outline:
    """A classifier of the images of parquet files."""
    rows, sizes, grey = _looked_at(found.files)
    one_size = len(set(sizes)) == 1
    side, channels = max(max(size) for size in sizes), 1 if grey else 3
    whole = sum(rows.values()) * channels * sizes[0][0] * sizes[0][1]
    train = next((count for name, count in rows.items() if name.endswith("_train")), sum(rows.values()) * 3 // 4)
    if one_size and len(found.files) > 1 and whole < _IN_MEMORY:
        name = found.source.removesuffix(Path(found.source).suffix).rpartition("_")[0]
        own: dict[str, Any] = {"source": f"parquet:{name}"}
        reasons = {"data.source": "decoded once into the cache, then held in memory"}
    else:
        side, channels = min(_SIZES, key=lambda size: abs(size - sorted(map(min, sizes))[len(sizes) // 2])), 3
        own = {"source": _streamed(found), "images": Images(size=side, area=0.35)}
        reasons = {"data.images": "cut and scaled to one square while training"}
    chosen = choice.for_pictures(train, side=side, channels=channels)
    data = Data(**own, batch_size=min(chosen.batch_size, train), augment=chosen.augment, valid=0.05)
    findings = cheap(load(data), data)
    data, more = answered(data, findings)
    experiment = Experiment(
        data=data,
        model=chosen.model,
        task=Classification(label_smoothing=0.05),
        optim=chosen.optim,
        loop=chosen.loop,
    )
    title = f"{found.name}: the class of an image, from {train:,} of them."
    return Outline(experiment, title, [], chosen.reasons | reasons | more, tuple(findings))


def _streamed(found: Found) -> str:
    """`images:TRAIN,test=TEST` of the files, written as the path was."""
    words = {file.stem.rpartition("_")[2]: beside(found.source, file.name) for file in found.files}
    if len(words) == 1:
        return f"images:{found.source}"
    others = {"test": words.get("test"), "valid": words.get("valid") or words.get("val") or words.get("validation")}
    return f"images:{words['train']}" + "".join(f",{name}={file}" for name, file in others.items() if file)


def _looked_at(files: tuple[Path, ...]) -> tuple[dict[str, int], list[tuple[int, int]], bool]:
    """(rows of each file by its stem, sizes of some pictures, whether all of those are grey)."""
    from PIL import Image
    from pyarrow import parquet

    rows = {file.stem: parquet.ParquetFile(file).metadata.num_rows for file in files}
    sizes, grey = [], True
    for batch in parquet.ParquetFile(files[0]).iter_batches(batch_size=_LOOKED_AT, columns=["image"]):
        for row, given in enumerate(batch["image"].to_pylist()):
            try:
                with Image.open(io.BytesIO(given["bytes"] if isinstance(given, dict) else given)) as picture:
                    sizes.append(picture.size)
                    grey = grey and picture.mode in ("1", "L", "I", "I;16")
            except Exception as error:  # whatever the decoders of foreign bytes raise
                raise DataError(f"{files[0]}, row {row}: not a readable image ({error}); mend or remove it") from error
        break
    if not sizes:
        raise DataError(f"{files[0]} holds no rows; give a file with examples")
    return rows, sizes, grey
