"""PyTorch Lightning: `Trainer.fit` over a DataLoader, `python lightning_fit.py FOLDER plain|tuned`.

plain  as in Lightning's first steps: `DataLoader(dataset, batch_size=…, shuffle=True)`, `torch.optim.AdamW(…)`
tuned  what someone in a hurry changes: rows gathered a batch at a time and not one by one, the fused optimizer

Runs in the environment of environments.py, without jaxnets.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import lightning
import torch
from answering import answer, given
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset


def model(settings: dict[str, Any], shape: tuple[int, ...]) -> nn.Sequential:
    """The layers of jaxnets.models.MLP or CNN; images have their channels first here."""
    layers: list[nn.Module] = []
    for channels in settings["channels"]:
        layers += [nn.LazyConv2d(channels, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Flatten()]
    for width in settings["widths"]:
        layers += [nn.LazyLinear(width), nn.ReLU()]
    network = nn.Sequential(*layers, nn.LazyLinear(settings["num_classes"]))
    network(torch.zeros(1, *shape))  # the lazy layers find their sizes
    return network


class Classifier(lightning.LightningModule):
    def __init__(self, network: nn.Module, settings: dict[str, Any], *, fused: bool) -> None:
        super().__init__()
        self.network, self.settings, self.fused = network, settings, fused

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], number: int) -> torch.Tensor:
        logits = self.network(batch[0])
        loss = nn.functional.cross_entropy(logits, batch[1])
        self.log("loss", loss)
        self.log("accuracy", (logits.argmax(1) == batch[1]).float().mean())
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        of = self.settings
        return torch.optim.AdamW(
            self.parameters(), lr=of["lr"], betas=(of["b1"], of["b2"]), eps=of["eps"],
            weight_decay=of["weight_decay"], fused=self.fused or None,
        )  # fmt: skip


class Clock(lightning.Callback):
    """Seconds from the start of the first epoch to the end of the last."""

    began = ended = 0.0

    def on_train_epoch_start(self, *_: Any) -> None:
        self.began = self.began or time.perf_counter()

    def on_train_epoch_end(self, *_: Any) -> None:
        self.ended = time.perf_counter()


def loader(dataset: TensorDataset, batch_size: int, *, whole: bool) -> DataLoader:
    """Batches in random order, gathered row by row or as a whole."""
    if not whole:
        return DataLoader(dataset, batch_size=batch_size, shuffle=True)
    rows = BatchSampler(RandomSampler(dataset), batch_size, drop_last=True)
    return DataLoader(dataset, sampler=rows, batch_size=None)


def main() -> None:
    settings, inputs, targets = given()
    tuned = sys.argv[2] == "tuned"
    torch.set_num_threads(settings["threads"])
    rows = torch.from_numpy(inputs)
    if rows.ndim == 4:
        rows = rows.permute(0, 3, 1, 2).contiguous()  # b c h w
    batches = loader(TensorDataset(rows, torch.from_numpy(targets).long()), settings["batch_size"], whole=tuned)
    classifier = Classifier(model(settings, tuple(rows.shape[1:])), settings, fused=tuned)

    def fit(epochs: int) -> dict[str, float]:
        clock = Clock()
        trainer = lightning.Trainer(
            accelerator="cpu", devices=1, max_epochs=epochs, callbacks=[clock], default_root_dir=sys.argv[1],
            logger=lightning.pytorch.loggers.CSVLogger(sys.argv[1]), log_every_n_steps=settings["log_every"],
            enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(classifier, batches)
        loss = float(trainer.callback_metrics["loss"])
        return {"seconds": (clock.ended - clock.began) / trainer.global_step, "loss": loss}

    parameters = list(classifier.parameters())
    answer(
        fit,
        epochs=settings["epochs"],
        sizes=[parameter.numel() for parameter in parameters],
        dtype=str(parameters[0].dtype).removeprefix("torch."),
        versions=f"lightning {lightning.__version__}, torch {torch.__version__}",
    )


if __name__ == "__main__":
    main()
