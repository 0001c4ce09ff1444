"""Which model and which size: the one place where this is decided."""

from __future__ import annotations

from typing import Any, NamedTuple

from jaxnets import models
from jaxnets.data import Crop, Flip, Shift, SpecAugment
from jaxnets.loop import Loop
from jaxnets.models import CNN, GPT, MLP, AudioResNet, ResNet9, ResNet18, TwoTower, UNet
from jaxnets.optim import AdamW, Cosine, OneCycle


class Choice(NamedTuple):
    """Stages of an experiment, and why they are as they are, by dotted path."""

    model: Any
    optim: Any
    loop: Loop
    batch_size: int
    reasons: dict[str, str]
    augment: tuple[Any, ...] = ()


def for_table(rows: int, *, monitor: str) -> Choice:
    """For so many train rows: the network for tables where there is one, else a plain perceptron."""
    batch_size = 32 if rows < 5000 else 128 if rows < 50_000 else 256
    per_epoch = max(1, rows // batch_size)
    epochs = max(30, min(300, -(-600 // per_epoch)))
    evaluate = max(10, min(500, 2 * per_epoch))
    return Choice(
        _tabular(rows),
        AdamW(lr=2e-3 if rows < 5000 else 1e-3, weight_decay=0.1, schedule=Cosine()),
        Loop(epochs=float(epochs), log_every=50, eval_every=evaluate, save_every=500, monitor=monitor),
        batch_size,
        {
            "data.batch_size": f"{per_epoch} steps an epoch",
            "model": f"sized for {rows:,} rows",
            "loop.epochs": "passes over the train split; patience=10 stops where the monitor gets no better",
            "loop.monitor": "the best weights by this figure of the validation split are kept and tested",
        },
    )


def _tabular(rows: int) -> Any:
    own = getattr(models, "TabularMLP", None)
    if own is not None:
        small = {"widths": (64,), "cell_width": 8, "members": 16, "dropout": 0.5, "cell_dropout": 0.2}
        return own(**small if rows < 5000 else {"members": 8, "dropout": 0.1})
    width = 64 if rows < 5000 else 128 if rows < 50_000 else 256
    return MLP(widths=(width, width), dropout=0.3 if rows < 5000 else 0.1)


def for_text(size: int) -> Choice:
    """For a text of so many bytes: a small GPT that learns in minutes on a laptop."""
    context, width, depth = (64, 128, 4) if size < 5_000_000 else (128, 192, 6)
    return Choice(
        GPT(context=context, width=width, depth=depth, heads=4, dropout=0.1 if size < 1_000_000 else None),
        AdamW(lr=2e-3, b2=0.99, weight_decay=0.1, clip_norm=1.0, schedule=Cosine(warmup_steps=100)),
        Loop(steps=2000, log_every=100, eval_every=500, save_every=500),
        16,
        {
            "model": "small; more width and depth pay on an accelerator",
            "model.context": "bytes that the next one is predicted from; as data.context",
            "loop.steps": "a few minutes on two cores; more make it better",
        },
    )


def for_pictures(rows: int, *, side: int, channels: int) -> Choice:
    """For so many train images of this size: a small CNN for digits and such, a ResNet for all else."""
    model: Any = ResNet18(stem="small" if side <= 64 else "imagenet")
    augment: tuple[Any, ...] = (Flip(),)
    why = "made for pictures; ResNet50 where there is an accelerator"
    if side <= 32 and channels == 1:
        model, augment, why = CNN(channels=(32, 64), hidden=256, dropout=0.3), (Crop(padding=2),), "small grey images"
    elif side <= 64:
        model, augment, why = ResNet9(width=32), (Crop(padding=4, fill="reflect"), Flip()), "small images in colour"
    batch_size = 128 if rows >= 2000 else 32
    per_epoch = max(1, rows // batch_size)
    epochs = max(5, min(60, 300_000 // max(1, rows)))
    return Choice(
        model,
        AdamW(lr=2e-3, weight_decay=0.02, schedule=OneCycle()),
        Loop(epochs=float(epochs), log_every=50, eval_every=per_epoch, save_every=per_epoch, monitor="nll"),
        batch_size,
        {
            "data.augment": "what changes no class: leave Flip() out where left and right matter",
            "model": why,
            "loop.eval_every": "an epoch",
        },
        augment,
    )


def for_pairs(rows: int, *, side: int) -> Choice:
    """For so many pairs to train on: small towers, whose image tower halves the sides down to about eight pixels."""
    channels = tuple(32 * 2 ** min(stage, 3) for stage in range(max(2, (side // 8).bit_length() - 1)))
    batch_size = max(2, min(128, rows // 4))
    per_epoch = max(1, rows // batch_size)
    epochs = max(5, min(60, 300_000 // max(1, rows)))
    return Choice(
        TwoTower(embedding=128, channels=channels, dropout=0.1),
        AdamW(lr=1e-3, weight_decay=0.1, clip_norm=1.0, schedule=Cosine(warmup_steps=min(100, per_epoch))),
        Loop(
            epochs=float(epochs), log_every=50, eval_every=per_epoch, save_every=per_epoch,
            monitor="image_to_text_recall_1",
        ),
        batch_size,
        {
            "data.batch_size": "each pair is told from the others of its batch: more of them teach more",
            "model": "small; more width and depth pay where there are many pairs",
            "loop.eval_every": "an epoch",
        },
    )  # fmt: skip


def for_masks(rows: int, *, side: int) -> Choice:
    """For so many train pictures of this size with masks: a small U-Net."""
    batch_size = 16 if rows >= 32 else max(1, rows // 2)
    per_epoch = max(1, rows // batch_size)
    epochs = max(10, min(100, 20_000 // max(1, rows)))
    return Choice(
        UNet(width=16, depth=3) if side <= 64 else UNet(width=24, depth=4),
        AdamW(lr=3e-3, weight_decay=0.01, schedule=Cosine()),
        Loop(epochs=float(epochs), log_every=50, eval_every=per_epoch, save_every=per_epoch, monitor="miou"),
        batch_size,
        {
            "data.augment": "the masks are mirrored along; leave it out where left and right matter",
            "model": "small; more width pays on an accelerator",
            "loop.eval_every": "an epoch",
        },
        (Flip(),),
    )


def for_sounds(rows: int) -> Choice:
    """For so many clips to train on: a small ResNet on their spectrograms."""
    batch_size = 64 if rows >= 1000 else 16
    per_epoch = max(1, rows // batch_size)
    epochs = max(10, min(60, 60_000 // max(1, rows)))
    return Choice(
        AudioResNet(width=24, dropout=0.2),
        AdamW(lr=4e-3, weight_decay=0.05, clip_norm=1.0, schedule=OneCycle(rise=0.25)),
        Loop(epochs=float(epochs), log_every=50, eval_every=per_epoch, save_every=per_epoch, monitor="nll"),
        batch_size,
        {
            "data.augment": "what changes no class",
            "model": "small; more width pays where there are many clips",
            "loop.eval_every": "an epoch",
        },
        (Shift(share=0.1), SpecAugment()),
    )
