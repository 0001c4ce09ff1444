"""What the loop costs: a bare compiled step, the better hand-written loop, and `jaxnets.train` with everything on.

Same model, same data, same optimizer, in one process, interleaved, with a ratio for each repeat:

    bare     the step of jaxnets, compiled alone, on one fixed batch, awaited at the end
    hand     plain optax and `jax.jit`, the loss fetched every 50 steps; twice, as a loop over numpy batches and as a
             scan over a set that lives on the device: the faster of the two counts
    jaxnets  `train`: order of data, metrics, log lines, non-finite check, signals, checkpoints every 250 steps
             (the MLP: three); counted up to its last log line, without the final evaluation

Then, in processes of their own: seconds of compilation with an empty and a filled compile cache, from the command to
the first step, and the peak memory of the whole process for `jaxnets train` and for the hand-written loop.

All of it with the allocator that the commands set (jaxnets/memory.py); --plain-malloc shows them without it.

With --rivals the MLP and the CNN are trained by `fit` of Keras 3 on JAX and of PyTorch Lightning, as their users
call it (experiments/loop_rivals): same layers and params, same rows and batches, AdamW with the same numbers, loss and
accuracy of each step, float32, as many threads. Each has an environment of its own, which the first call makes with
pip, and a process of its own, whose memory is allocated as that framework leaves it. Counted from the start of the
first epoch to the end of the last, after one epoch unheard, without bars, checkpoints and evaluation, and in turns with
jaxnets. To give them the allocator of jaxnets too, set it for all:

    MALLOC_ARENA_MAX=1 MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=-1 python experiments/loop_benchmark.py --rivals 1

Usage:

    python experiments/loop_benchmark.py [--repeats 5] [--only mlp,cnn,vit,gpt] [--plain-malloc] [--rivals SHARE]
"""

# ruff: noqa: E402 (the allocator is set before jax is imported)
from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from jaxnets.memory import keep_pages

KEPT = "--plain-malloc" not in sys.argv and keep_pages()  # before jax starts its threads

import jax
import jax.numpy as jnp
import numpy as np
import optax
from loop_rivals.race import race

from jaxnets import Data, Experiment, Loop, compilation, experiment_step, init_state, train
from jaxnets import data as sources
from jaxnets.build import build
from jaxnets.models import CNN, GPT, MLP, ViT
from jaxnets.optim import AdamW, Constant
from jaxnets.progress import Progress
from jaxnets.tasks import Classification, LanguageModelling

BLOCK = 50  # steps between two looks at the loss


def workload(name: str, *, share: float = 1.0) -> Experiment:
    """One experiment without random layers, so that all compute the same; `share` of its steps."""
    model, task, data, steps = {
        "mlp": (
            MLP(widths=(256, 256), activation="relu"), Classification(),
            Data(source="digits", batch_size=384), 12000,
        ),
        "cnn": (
            CNN(channels=(32, 64), hidden=256), Classification(),
            Data(source="parquet:mnist", batch_size=128), 300,
        ),
        "vit": (
            ViT(patch=2, width=96, depth=4, heads=4, mlp_width=384), Classification(),
            Data(source="digits", batch_size=64), 400,
        ),
        "gpt": (
            GPT(context=64, width=128, depth=4, heads=4), LanguageModelling(),
            Data(source="python_text", batch_size=12, context=64), 300,
        ),
    }[name]  # fmt: skip
    steps = max(1, round(share * steps / BLOCK)) * BLOCK
    loop = Loop(steps=steps, log_every=BLOCK, eval_every=10**6, save_every=max(250, steps // 3), keep_best=False)
    return Experiment(data=data, model=model, task=task, optim=AdamW(lr=1e-3, schedule=Constant()), loop=loop)


class Bare:
    """The step of jaxnets alone, on one batch."""

    def __init__(self, experiment: Experiment, dataset: sources.Dataset) -> None:
        parts = build(experiment, dataset.schema)
        split = dataset.splits["train"]
        ids = np.arange(experiment.data.batch_size, dtype=np.int32)
        batch = jax.device_put(sources.gather(split.arrays, ids, window=split.window, stride=split.stride))
        self.numbers = jax.tree.map(jnp.asarray, experiment)
        state = jax.jit(lambda: init_state(*parts, key=jax.random.key(0), batch=batch))()
        step = partial(experiment_step, schema=dataset.schema)
        self.step = jax.jit(step, donate_argnums=0).lower(state, batch, self.numbers).compile()
        self.state, self.batch, self.steps = state, batch, experiment.loop.steps or 0

    def __call__(self) -> float:
        began = time.perf_counter()
        for _ in range(self.steps):
            self.state, _ = self.step(self.state, self.batch, self.numbers)
        jax.block_until_ready(self.state)
        return (time.perf_counter() - began) / self.steps


class Hand:
    """A loop as one writes it by hand: optax, jit, numpy batches or a scan over the set on the device."""

    def __init__(self, experiment: Experiment, dataset: sources.Dataset) -> None:
        model = build(experiment, dataset.schema).model
        split = dataset.splits["train"]
        self.batch_size, self.steps, self.length = experiment.data.batch_size, experiment.loop.steps or 0, split.length
        if split.window is None:
            inputs = np.asarray(sources.preprocess(dataset.schema, jnp.asarray(split.arrays["inputs"])))
            self.arrays = (inputs, np.asarray(split.arrays["targets"], np.int32))
        else:
            tokens = np.asarray(split.arrays["tokens"][:2_000_000], np.int32)
            windows = np.lib.stride_tricks.sliding_window_view(tokens, split.window + 1)[:: split.window]
            self.arrays = (windows[:, :-1].copy(), windows[:, 1:].copy())
            self.length = len(windows)
        self.resident = jax.device_put(self.arrays)
        optimizer = optax.adamw(1e-3)

        def step(carry, batch):
            params, state, opt_state = carry

            def loss(params):
                logits, moved = model.apply(params, state, batch[0], train=True, key=None)
                return optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean(), moved

            (value, state), gradients = jax.value_and_grad(loss, has_aux=True)(params)
            updates, opt_state = optimizer.update(gradients, opt_state, params)
            return (optax.apply_updates(params, updates), state, opt_state), value

        def block(carry, resident, rows):
            return jax.lax.scan(lambda c, ids: step(c, jax.tree.map(lambda a: a[ids], resident)), carry, rows)

        first = tuple(array[: self.batch_size] for array in self.arrays)
        params, state = jax.jit(model.init)(jax.random.key(0), first[0])
        carry = (params, state, optimizer.init(params))
        rows = np.zeros((BLOCK, self.batch_size), np.int32)
        self.bare = jax.jit(step, donate_argnums=0).lower(carry, first).compile()
        self.block = jax.jit(block, donate_argnums=0).lower(carry, self.resident, rows).compile()
        self.carry, self.draw = carry, np.random.default_rng(0)

    def _batches(self):
        while True:
            order = self.draw.permutation(self.length).astype(np.int32)
            for start in range(0, self.length - self.batch_size + 1, self.batch_size):
                yield order[start : start + self.batch_size]

    def over_batches(self) -> float:
        batches = self._batches()
        began = time.perf_counter()
        for number in range(self.steps):
            ids = next(batches)
            self.carry, value = self.bare(self.carry, tuple(array[ids] for array in self.arrays))
            if number % BLOCK == BLOCK - 1:
                float(value)
        jax.block_until_ready(self.carry)
        return (time.perf_counter() - began) / self.steps

    def scanned(self) -> float:
        batches = self._batches()
        began = time.perf_counter()
        for _ in range(self.steps // BLOCK):
            self.carry, values = self.block(self.carry, self.resident, np.stack([next(batches) for _ in range(BLOCK)]))
            float(values.mean())
        jax.block_until_ready(self.carry)
        return (time.perf_counter() - began) / self.steps


def jaxnets_run(experiment: Experiment) -> float:
    """Seconds a step of `train`, up to its last log line."""
    with tempfile.TemporaryDirectory() as folder, compilation.cache():
        train(experiment, Path(folder) / "run", progress=Progress(quiet=True))
        lines = [json.loads(line) for line in (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()]
        last = next(line for line in reversed(lines) if "train" in line)
        return last["time"]["seconds"] / last["step"]


def compare(name: str, repeats: int) -> None:
    """Prints one workload's seconds and ratios."""
    experiment = workload(name)
    dataset = sources.load(experiment.data)
    bare, hand = Bare(experiment, dataset), Hand(experiment, dataset)
    contenders = {
        "bare": bare,
        "hand, batches": hand.over_batches,
        "hand, scanned": hand.scanned,
        "jaxnets": lambda: jaxnets_run(experiment),
    }
    for contender in contenders.values():
        contender()  # warm: programs, caches, threads
    seconds: dict[str, list[float]] = {key: [] for key in contenders}
    for repeat in range(repeats):
        names = list(contenders)
        for key in names[repeat % 4 :] + names[: repeat % 4]:
            seconds[key].append(contenders[key]())
    for key, values in seconds.items():
        print(f"  {key:14} {spread([1000 * value for value in values])} ms a step")
    better = min(("hand, batches", "hand, scanned"), key=lambda key: statistics.median(seconds[key]))
    for key in ("bare", better):
        ratios = [other / own for other, own in zip(seconds[key], seconds["jaxnets"], strict=True)]
        print(f"  speed of jaxnets over {key}: {spread(ratios)}")


def spread(values: list[float]) -> str:
    """`median (least to most)`."""
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


# ---------------------------------------------------------------- processes of their own


def child(what: str, name: str) -> None:
    """Runs in a process of its own and prints one JSON line."""
    experiment = workload(name)
    if what == "compile":
        with compilation.cache():
            dataset = sources.load(experiment.data)
            parts = build(experiment, dataset.schema)
            split = dataset.splits["train"]
            ids = np.arange(experiment.data.batch_size, dtype=np.int32)
            batch = sources.gather(split.arrays, ids, window=split.window, stride=split.stride)
            state = jax.eval_shape(lambda: init_state(*parts, key=jax.random.key(0), batch=batch))
            numbers = jax.tree.map(jnp.asarray, experiment)
            jnp.ones(3).block_until_ready()
            began = time.perf_counter()
            lowered = jax.jit(partial(experiment_step, schema=dataset.schema)).lower(state, batch, numbers)
            middle = time.perf_counter()
            lowered.compile()
            print(json.dumps({"trace": middle - began, "compile": time.perf_counter() - middle}))
    elif what == "hand":
        hand = Hand(experiment, sources.load(experiment.data))
        hand.over_batches()
        print(json.dumps({"peak": peak()}))
    elif what == "train":
        with tempfile.TemporaryDirectory() as folder, compilation.cache():
            train(experiment, Path(folder) / "run", progress=Progress(quiet=True))
        print(json.dumps({"peak": peak()}))


def peak() -> float:
    """Peak resident memory of this process, in MB: of /proc, since getrusage inherits the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measured(what: str, name: str, cache: str) -> dict[str, float]:
    words = [sys.executable, __file__, "--child", what, "--only", name, *([] if KEPT else ["--plain-malloc"])]
    environment = {**os.environ, "JAXNETS_CACHE": cache}
    out = subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout
    return json.loads(out.splitlines()[-1])


def first_step(name: str, cache: str) -> float:
    """Seconds from the command to the first line of the log, each step being logged."""
    with tempfile.TemporaryDirectory() as folder:
        source = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        source += f"from loop_benchmark import workload\nexperiment = workload({name!r})\n"
        (Path(folder) / "config.py").write_text(source)
        run_dir = Path(folder) / "run"
        words = [sys.executable, "-m", "jaxnets.cli", "train", f"{folder}/config.py", "--run-dir", str(run_dir)]
        words += ["--loop.log_every", "1", "--quiet"]
        began = time.perf_counter()
        with subprocess.Popen(words, env={**os.environ, "JAXNETS_CACHE": cache}) as process:
            log = run_dir / "metrics.jsonl"
            while not (log.exists() and log.stat().st_size):
                if process.poll() is not None:
                    raise RuntimeError(f"the command ended with {process.returncode} before its first step")
                time.sleep(0.01)
            seconds = time.perf_counter() - began
            process.kill()
        return seconds


def starts(name: str, repeats: int) -> None:
    """Prints cold and warm starts, and memory."""
    figures: dict[str, list[float]] = {}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as cache:
            sources_ready = {**os.environ, "JAXNETS_CACHE": cache}
            prepare = "import sys; from jaxnets import data, Data; data.load(Data(source=sys.argv[1], context=8))"
            source = workload(name).data.source
            subprocess.run([sys.executable, "-c", prepare, source], env=sources_ready, capture_output=True, check=True)
            for when in ("cold", "warm"):
                figures.setdefault(f"first step, {when}", []).append(first_step(name, cache))
                for key, value in measured("compile", name, cache).items():
                    figures.setdefault(f"{key}, {when}", []).append(value)
    for key in sorted(figures):
        print(f"  {key:18} {spread(figures[key])} s")
    ratios = [warm / cold for warm, cold in zip(figures["compile, warm"], figures["compile, cold"], strict=True)]
    print(f"  compile, warm over cold: {spread(ratios)}")
    with tempfile.TemporaryDirectory() as cache:
        peaks = {what: measured(what, name, cache)["peak"] for what in ("hand", "train")}
    print(f"  peak memory: hand {peaks['hand']:.0f} MB, jaxnets {peaks['train']:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="mlp,cnn,vit,gpt", help="workloads, by comma (default: all)")
    parser.add_argument("--no-starts", action="store_true", help="leave out what needs processes of its own")
    parser.add_argument(
        "--rivals",
        type=float,
        metavar="SHARE",
        help="only Keras and PyTorch Lightning against jaxnets, over this share of the steps (1 = all)",
    )
    parser.add_argument("--plain-malloc", action="store_true", help="leave the allocator as it is")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child, given.only)
        return
    device = jax.devices()[0]
    print(f"jax {jax.__version__}, python {sys.version.split()[0]}, {device.platform} {device.device_kind}, "
          f"{os.cpu_count()} cores; median (least to most) of {given.repeats} interleaved repeats; "
          f"pages {'kept' if KEPT else 'given back'}")  # fmt: skip
    for name in given.only.split(","):
        print(name, flush=True)
        if given.rivals is not None:
            experiment = workload(name, share=given.rivals)
            race(experiment, partial(jaxnets_run, experiment), given.repeats, spread)
            continue
        compare(name, given.repeats)
        if not given.no_starts:
            starts(name, min(given.repeats, 3))


if __name__ == "__main__":
    main()
