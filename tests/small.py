"""Small experiments and what two runs have in common, for the tests of everything that trains."""

import json
import os
import subprocess
import sys
from pathlib import Path

from jaxnets.config import Experiment
from jaxnets.data import Data
from jaxnets.loop import Loop
from jaxnets.models import MLP
from jaxnets.optim import AdamW
from jaxnets.progress import Progress
from jaxnets.tasks import Classification

CONFIG = """
from jaxnets import Data, Experiment, Loop
from jaxnets.models import MLP
from jaxnets.optim import AdamW
from jaxnets.tasks import Classification

experiment = Experiment(
    data=Data(source="wine", batch_size=16),
    model=MLP(widths=(16,), dropout=0.1),
    task=Classification(label_smoothing=0.1),
    optim=AdamW(lr=1e-2, ema_decay=0.9),
    loop=Loop(steps=1000, log_every=10, eval_every=25, save_every=20, monitor="nll"),
)
"""


def experiment(**changes):
    """An MLP on wine, 40 steps; `loop` and every other stage may be replaced."""
    stages = {
        "data": Data(source="wine", batch_size=16),
        "model": MLP(widths=(8,), dropout=0.1),
        "task": Classification(),
        "optim": AdamW(lr=1e-2),
        "loop": loop(),
    }
    return Experiment(**(stages | changes))


def loop(**changes):
    return Loop(**({"steps": 40, "log_every": 10, "eval_every": 20, "save_every": 20, "monitor": "nll"} | changes))


def command(*words, timeout=300, **environment):
    """The command line in a process of its own: (exit code, stdout, stderr)."""
    done = subprocess.run(
        [sys.executable, "-m", "jaxnets.cli", *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=timeout,
    )
    return done.returncode, done.stdout, done.stderr


class Said(Progress):
    """Keeps what a run says."""

    def __init__(self):
        super().__init__(quiet=True)
        self.lines = []

    def say(self, line):
        self.lines.append(line)


def photograph(browser, page, picture):
    """Opens a page in a real browser, leaves a picture of it, and returns what the browser said of it."""
    words = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    words += [f"--screenshot={picture}", f"file://{page}"]
    return subprocess.run(words, capture_output=True, text=True, timeout=120).stderr


def log_of(run_dir):
    """The lines of metrics.jsonl as they are, wall-clock values left out."""
    lines = [json.loads(line) for line in (Path(run_dir) / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("time")
    return lines


def leaves_of(run_dir):
    """{step: {path: digest}} of every checkpoint that is there."""
    found = {}
    for path in sorted((Path(run_dir) / "checkpoints").glob("0*/manifest.json")):
        manifest = json.loads(path.read_text().splitlines()[1])
        found[manifest["step"]] = {leaf["path"]: leaf["digest"] for leaf in manifest["leaves"]}
    return found


def assert_same_runs(run_dir, reference):
    """Bit for bit: metric log, every kept checkpoint, the weights that are exported."""
    assert log_of(run_dir) == log_of(reference)
    assert leaves_of(run_dir) == leaves_of(reference)
    weights = [(Path(folder) / "weights.safetensors").read_bytes() for folder in (run_dir, reference)]
    assert weights[0] == weights[1]
