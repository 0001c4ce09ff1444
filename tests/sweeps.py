"""A sweep that was never run: a sweep.json as the engine writes it, with curves that fall, pruned and failed trials."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

SPACE = {
    "optim.lr": "log(0.0001,0.1)",
    "optim.weight_decay": "log(0.000001,0.01)",
    "task.label_smoothing": "uniform(0,0.3)",
    "model.depth": "int(2,8)",
    "model.activation": "choice(relu,gelu,tanh)",
    "seed": "range(5)",
}


def settings(random: np.random.Generator) -> dict[str, Any]:
    return {
        "optim.lr": float(10 ** random.uniform(-4, -1)),
        "optim.weight_decay": float(10 ** random.uniform(-6, -2)),
        "task.label_smoothing": float(random.uniform(0, 0.3)),
        "model.depth": int(random.integers(2, 9)),
        "model.activation": str(random.choice(["relu", "gelu", "tanh"])),
        "seed": int(random.integers(5)),
    }


def loss_of(one: dict[str, Any]) -> float:
    """Least at a rate of 0.02 and a depth of 5; the weight decay does nothing."""
    away = (math.log10(one["optim.lr"]) - math.log10(0.02)) ** 2
    kind = {"relu": 0.0, "gelu": -0.02, "tanh": 0.05}[one["model.activation"]]
    return 0.15 + 0.12 * away + 0.006 * (one["model.depth"] - 5) ** 2 + 0.3 * one["task.label_smoothing"] ** 2 + kind


def trial(number: int, one: dict[str, Any], random: np.random.Generator, *, steps: int = 300) -> dict[str, Any]:
    loss = max(0.02, loss_of(one) + 0.01 * random.normal())
    at = list(range(10, steps + 1, 10))
    curve = [[step, loss + (2.3 - loss) * math.exp(-step * 0.02) + 0.004 * abs(random.normal())] for step in at]
    found = {
        "number": number, "state": "complete", "settings": one, "values": [loss], "curve": curve, "steps": steps,
        "figures": {"valid": {"loss": loss, "accuracy": 1 - loss / 2}, "test": {"loss": loss * 1.05}},
        "tested_step": steps, "seconds": 0.3 + 0.05 * random.random(), "form": "lanes", "why": None, "parent": None,
        "first_settings": None, "history": [],
        "worker": "host-1", "began": "2026-01-31T12:00:00+00:00",
    }  # fmt: skip
    absent = {"values": None, "figures": {}, "tested_step": None}
    if one["optim.lr"] > 0.05 and random.random() < 0.5:
        stop = int(random.integers(2, len(at)))
        return found | absent | {"state": "failed", "why": f"not finite at step {at[stop]}", "curve": curve[:stop],
                                 "steps": at[stop], "seconds": 0.1}  # fmt: skip
    if loss > 0.5 and random.random() < 0.8:
        stop = len(at) // 3
        return found | absent | {"state": "pruned", "curve": curve[:stop], "steps": at[stop - 1], "seconds": 0.1}
    return found


def written(count: int = 200, *, seed: int = 0, wanted: int | None = None, second: bool = False) -> dict[str, Any]:
    """The content of a sweep.json. second: with the size of the model as a second objective."""
    random = np.random.default_rng(seed)
    trials = [trial(number, settings(random), random) for number in range(count)]
    objectives = [{"figure": "valid.loss", "larger_is_better": False}]
    if second:
        objectives.append({"figure": "parameters", "larger_is_better": False})
        for one in trials:
            if one["values"]:
                one["values"].append(1000.0 * one["settings"]["model.depth"] + 10 * random.random())
    done = [one for one in trials if one["state"] == "complete"]
    best = min(done, key=lambda one: one["values"][0], default=None)
    groups = [
        {"trials": sum(one["settings"]["model.depth"] == depth for one in trials), "structure": {"model.depth": depth},
         "form": "lanes", "lanes": 64, "lanes_seconds": 0.0001, "queue_seconds": 0.0002, "compile_seconds": 3.1}
        for depth in range(2, 9)
    ]  # fmt: skip
    return {
        "name": "digits_sweep", "config": "configs/digits_mlp.py",
        "base": {"variant": "experiment", "seed": 0, "model": {"variant": "mlp", "widths": [64, 64]}},
        "space": SPACE, "searcher": "tpe", "stopping": "asha", "objectives": objectives,
        "wanted": wanted or count, "trials": trials,
        "best": best and {key: best[key] for key in ("number", "settings", "values")}, "front": [], "groups": groups,
        "seconds": {"wall": 60.0, "training": 50.1, "compiling": 5.0, "measuring": 1.0, "searcher": 0.4,
                    "storage": 0.2, "engine": 0.1},
        "devices": ["cpu"], "workers": 1,
    }  # fmt: skip


def write(folder: Path, content: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sweep.json").write_text(json.dumps(content))
    return folder
