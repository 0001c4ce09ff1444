"""What the processes of the other frameworks say: one line about themselves, then one line for each line they are sent.

Runs inside the foreign environments, which have no jaxnets.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def given() -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """The task in the folder of the first argument: settings, inputs and targets, rows enough for one epoch."""
    folder = Path(sys.argv[1])
    settings = json.loads((folder / "settings.json").read_text())
    return settings, np.load(folder / "inputs.npy"), np.load(folder / "targets.npy")


def answer(fit: Callable[[int], dict[str, float]], *, epochs: int, **about: Any) -> None:
    """Fits one epoch unheard, which compiles, says `about`, then answers each line of stdin with `fit(epochs)`."""
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the framework prints is not taken for an answer
    fit(1)
    print(json.dumps(about), file=lines, flush=True)
    for _ in sys.stdin:
        print(json.dumps(fit(epochs)), file=lines, flush=True)
