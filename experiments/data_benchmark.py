"""Are batches there before they are asked for? Batches a second of jaxnets, of PyTorch's DataLoader and of bare loops.

The files are made in a temporary folder: pictures, sounds, tables and tokens (experiments/data_rivals/making.py). Each
row is read by the same calls of Pillow, soundfile and NumPy, shuffled, in batches of one size:

    jaxnets  `data.load` and `training_stream`, as the loop of `train` asks for its batches; --workers threads where a
             source is read while training. What fits in memory is gathered there, on the host. Pictures are those of
             later epochs, which were decoded in the first one and kept
    anew     jaxnets with data.images.keep_gib 0: every picture is decoded each time, as in a first epoch
    bare     the same examples by a loop in one thread; of arrays in memory, whole batches at once
    torch    DataLoader with as many worker processes, in an environment that the first call makes with pip;
             of arrays in memory a TensorDataset, also without processes, and with a sampler of whole batches

In turns, each for --seconds at a time; of what is prefetched, nothing is counted. The CPU that a batch takes tells more
than the rate where other work runs on the same cores. Beside them, what one epoch that is not counted, and then three
more, add to the memory of this process (resident).

`--step` measures how long a step of resnet9 takes that is given its batches by the stream, of pictures that are kept or
decoded anew, against the same step on one batch (loop efficiency). `--memory 0.3,1` writes parquet tables of so many
GB, and tells of each the peak memory of a process that reads one epoch of it.

    python experiments/data_benchmark.py [--repeats 5] [--seconds 2] [--only "jpeg 32,wav"] [--no-torch]
    python experiments/data_benchmark.py --step
    python experiments/data_benchmark.py --memory 0.3,1
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from data_rivals.examples import Held, examples
from data_rivals.making import CLASSES, MAKERS, large_table
from loop_rivals.environments import interpreter

from jaxnets import data

PICTURES = ("jpeg 32", "jpeg 224", "parquet images")  # rows whose pictures are decoded while training
WARM = 8  # batches at the beginning of each turn that are not counted: more than are prefetched


@dataclasses.dataclass(frozen=True)
class Row:
    """One row: what jaxnets is told, how many examples there are."""

    source: data.Data
    count: int
    rivals: tuple[str, ...] = ("workers",)  # ways of torch


def rows(folder: Path, workers: int) -> dict[str, Row]:
    """All rows, of which the files lie, or will lie, in `folder`."""
    held = ("workers", "0", "batches")

    def source(name: str, batch_size: int, **more: Any) -> data.Data:
        own = {"valid": 0.01, "test": 0.01, "standardize": False, "workers": workers}
        return data.Data(source=name, batch_size=batch_size, **{**own, **more})

    small, large = data.Images(size=32), data.Images(size=224)
    sound, arrays = data.Audio(stream=True), {"target": "target", "standardize": True}
    return {
        "jpeg 32": Row(source(f"images:{folder}/small", 128, images=small), 4000),
        "jpeg 224": Row(source(f"images:{folder}/large", 32, images=large), 200),
        "parquet images": Row(source(f"images:{folder}/pictures_train.parquet", 128, images=small), 8000),
        "csv": Row(source(f"table:{folder}/rows.csv", 256, **arrays), 50_000, held),
        "parquet table": Row(source(f"table:{folder}/rows.parquet", 256, **arrays), 50_000, held),
        "wav": Row(source(f"audio:{folder}/sounds", 64, audio=sound), 1000),
        "tokens": Row(source(f"tokens:{folder}/tokens.bin", 64, context=256, vocabulary=50257), 20_000),
        "arrays": Row(source("", 256), 50_000, held),
    }


def made(name: str, row: Row, folder: Path, *, share: float = 1.0) -> Row:
    """The row, its files written and its source complete; `share` of its examples."""
    MAKERS[name](folder, max(CLASSES * 40, round(share * row.count)))
    if name != "arrays":
        return row
    images, labels = examples(name, folder).arrays
    return dataclasses.replace(row, source=dataclasses.replace(row.source, source=data.from_arrays(x=images, y=labels)))


# ---------------------------------------------------------------- contenders: seconds -> a turn


class Turn(NamedTuple):
    """What one contender did in its turn: batches a second, and ms of CPU a batch, with its workers'."""

    rate: float
    cpu: float


def timed(batches: Iterator[Any], seconds: float) -> Turn:
    """A turn of as many batches as come in these seconds; the first ones are not counted."""
    for _ in range(WARM):
        next(batches)
    count, began, used = 0, time.perf_counter(), time.process_time()
    while (taken := time.perf_counter() - began) < seconds:
        next(batches)
        count += 1
    return Turn(count / taken, 1000 * (time.process_time() - used) / count)


def streamed(stream: data.Stream, first: int = 0) -> Iterator[dict[str, Any]]:
    """The batches of a stream as the loop asks for them."""
    while True:
        yield stream([first])[0]
        first += 1


def bare(name: str, folder: Path, batch_size: int) -> Iterator[Any]:
    """The same batches by a loop as one writes it by hand, in random order without end."""
    inside = examples(name, folder)
    while True:
        ids = np.random.permutation(len(inside))
        for start in range(0, len(ids) - batch_size + 1, batch_size):
            chosen = ids[start : start + batch_size]
            if isinstance(inside, Held):
                yield inside[chosen]
            else:
                yield tuple(np.stack(parts) for parts in zip(*(inside[int(i)] for i in chosen), strict=True))


class Torch:
    """A loader in a process of its own: `loader(seconds) -> a turn`. RuntimeError if the process ends."""

    def __init__(self, python: Path, name: str, folder: Path, batch_size: int, way: str) -> None:
        script = Path(__file__).parent / "data_rivals" / "torch_loader.py"
        self._process = subprocess.Popen(
            [python, "-W", "ignore", script, folder, name, str(batch_size), way],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        )  # fmt: skip
        about = self._answer()
        self.version: str = about["version"]
        assert about["shape"][0] == batch_size, f"batches of {about['shape']}, not of {batch_size}"

    def _answer(self) -> Any:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError(f"{self._process.args} ended with {self._process.wait()}")
        return json.loads(line)

    def __call__(self, seconds: float) -> Turn:
        assert self._process.stdin
        used = cpu_seconds(self._process.pid)
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        count, taken = self._answer()
        return Turn(count / taken, 1000 * (cpu_seconds(self._process.pid) - used) / (count + WARM))

    def close(self) -> None:
        self._process.communicate()  # the end of its input ends it


# ---------------------------------------------------------------- what is measured


def compare(name: str, row: Row, folder: Path, *, repeats: int, seconds: float, torch: Path | None) -> None:
    """Prints one row: batches a second of each, the ratios, and what epochs add to the memory."""
    began = time.perf_counter()
    split, size = data.load(row.source).splits["train"], row.source.batch_size
    loaded = time.perf_counter() - began
    workers = data.workers_of(row.source.workers)
    ways = {
        f"torch, {way.replace('workers', str(workers))}": way.replace("workers", str(workers)) for way in row.rivals
    }
    rivals = {label: Torch(torch, name, folder, size, way) for label, way in ways.items()} if torch else {}
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(data.training_stream(split, seed=0, batch_size=size, workers=workers))
        epoch = -(-split.length // size)
        first, later = added(stream, range(epoch)), added(stream, range(epoch, 4 * epoch))
        contenders = {"jaxnets": partial(timed, streamed(stream)), "bare": partial(timed, bare(name, folder, size))}
        if name in PICTURES:
            anew = data.load(without_keeping(row.source)).splits["train"]
            other = stack.enter_context(data.training_stream(anew, seed=0, batch_size=size, workers=workers))
            contenders["anew"] = partial(timed, streamed(other))
        for rival in rivals.values():
            stack.callback(rival.close)
        found = interleaved(contenders | rivals, repeats, seconds)
        print(f"  ready after {loaded:.2f} s; batches of {size}")
        rates = {label: [turn.rate for turn in turns] for label, turns in found.items()}
        own = [label for label in ("jaxnets", "anew") if label in found]
        for label, values in rates.items():
            ratios = [spread(over(rates[mine], values)) for mine in own if label not in own]
            cpu = spread([turn.cpu for turn in found[label]])
            print(f"  {label:16} | {spread(values):>28} batches/s | {cpu:>26} ms of CPU | {' | '.join(ratios)}")
        print(f"  the first epoch adds {first:.1f} MB to this process, three more {later:.1f} MB", flush=True)


def interleaved(contenders: dict[str, Callable[[float], Turn]], repeats: int, seconds: float) -> dict[str, list[Turn]]:
    """The turns of each; another one begins each repeat."""
    found: dict[str, list[Turn]] = {name: [] for name in contenders}
    for repeat in range(repeats):
        names, first = list(contenders), repeat % len(contenders)
        for name in names[first:] + names[:first]:
            found[name].append(contenders[name](seconds))
    return found


def spread(values: list[float]) -> str:
    """`median (least to most)`."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def over(ones: list[float], others: list[float]) -> list[float]:
    """How many times as fast, turn by turn."""
    return [one / other for one, other in zip(ones, others, strict=True)]


def cpu_seconds(process: int) -> float:
    """What a process and its children have used so far, of those that live."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # of one that has just ended
            words = stat.read_text().rpartition(")")[2].split()
            if process in (int(stat.parent.name), int(words[1])):
                ticks += int(words[11]) + int(words[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def without_keeping(source: data.Data) -> data.Data:
    """The same pictures, each of which is decoded anew each time."""
    return dataclasses.replace(source, images=dataclasses.replace(source.images, keep_gib=0.0))


def added(stream: data.Stream, numbers: range) -> float:
    """MB that these batches add to what is resident before them."""
    before = resident()
    for number in numbers:
        stream([number])
    return resident() - before


def resident(what: str = "VmRSS:") -> float:
    """MB of memory that this process holds, or, with `VmHWM:`, has held at most."""
    return int(Path("/proc/self/status").read_text().split(what)[1].split()[0]) / 1024


def step(folder: Path, *, share: float, workers: int, repeats: int, steps: int, width: int) -> None:
    """Prints how long a step of resnet9 takes when it is fed, from memory or anew, and when it is not."""
    import jax

    from jaxnets import Experiment, experiment_step, init_state
    from jaxnets.build import build
    from jaxnets.models import ResNet9
    from jaxnets.optim import SGD
    from jaxnets.tasks import Classification

    row = made("jpeg 32", rows(folder, workers)["jpeg 32"], folder, share=share)
    source = dataclasses.replace(row.source, standardize=True)
    dataset, size = data.load(source), source.batch_size
    experiment = Experiment(data=source, model=ResNet9(width=width), task=Classification(), optim=SGD(lr=0.01))
    split, parts = dataset.splits["train"], build(experiment, dataset.schema)
    anew = data.load(without_keeping(source)).splits["train"]
    with (
        data.training_stream(split, seed=0, batch_size=size, workers=workers) as stream,
        data.training_stream(anew, seed=0, batch_size=size, workers=workers) as other,
    ):
        added(stream, range(-(-split.length // size)))  # the first epoch decodes, the others need not
        fixed = jax.device_put(stream([0])[0])
        ways = {"bare": itertools.repeat(fixed), "fed": streamed(stream), "anew": streamed(other)}
        numbers = jax.tree.map(jax.numpy.asarray, experiment)
        state = jax.jit(lambda: init_state(*parts, key=jax.random.key(0), batch=fixed))()
        run = jax.jit(partial(experiment_step, schema=dataset.schema), donate_argnums=0)
        for batches in ways.values():
            state, _ = run(state, next(batches), numbers)
        wall: dict[str, list[float]] = {way: [] for way in ways}
        cpu: dict[str, list[float]] = {way: [] for way in ways}
        for repeat in range(repeats):
            for way in list(ways)[:: -1 if repeat % 2 else 1]:
                jax.block_until_ready(state)
                began, used = time.perf_counter(), time.process_time()
                for _ in range(steps):
                    state, _ = run(state, next(ways[way]), numbers)
                jax.block_until_ready(state)
                wall[way].append(1000 * (time.perf_counter() - began) / steps)
                cpu[way].append(1000 * (time.process_time() - used) / steps)
    print(f"  resnet9 of width {width}, {size} pictures a step; on the right, loop efficiency by the clock and by CPU")
    for way in ways:
        ratios = f"{spread(over(wall['bare'], wall[way]))} | {spread(over(cpu['bare'], cpu[way]))}"
        print(f"  {way:4} {spread(wall[way])} ms, {spread(cpu[way])} ms of CPU | {ratios}")


def peaks(folder: Path, sizes: list[float]) -> None:
    """Prints the peak memory of a process that reads an epoch of a parquet table, for each size in GB."""
    for size in sizes:
        path = folder / "large.parquet"
        large_table(path, round(size * 1e9))
        out = subprocess.run([sys.executable, __file__, "--child", path], capture_output=True, text=True, check=True)
        seen = json.loads(out.stdout.splitlines()[-1])
        print(f"  {path.stat().st_size / 1e9:.2f} GB: {seen}", flush=True)


def child(path: str) -> None:
    """In a process of its own: reads an epoch, and prints its memory in MB as JSON."""
    seen, began = {"imported": resident("VmHWM:")}, time.perf_counter()
    source = data.Data(source=f"table:{path}", target="target", batch_size=4096, valid=0.01, test=0.01)
    split = data.load(source).splits["train"]
    seen |= {"seconds to load": time.perf_counter() - began, "peak of loading": resident("VmHWM:")}
    with data.training_stream(split, seed=0, batch_size=4096, workers=0) as stream:
        for number in range(-(-split.length // 4096)):
            stream([number])
    seen |= {"seconds": time.perf_counter() - began, "peak": resident("VmHWM:")}
    print(json.dumps({key: round(value, 1) for key, value in seen.items()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each turn")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default=",".join(MAKERS), help="rows, by comma (default: all)")
    parser.add_argument("--share", type=float, default=1.0, help="of the examples of each row")
    parser.add_argument("--no-torch", action="store_true", help="jaxnets and bare loops alone")
    parser.add_argument("--python", type=Path, help="of an environment with torch, Pillow, pyarrow and soundfile")
    parser.add_argument("--step", action="store_true", help="only the step of resnet9")
    parser.add_argument("--steps", type=int, default=10, help="of resnet9, a repeat")
    parser.add_argument("--width", type=int, default=16, help="of resnet9")
    parser.add_argument("--memory", metavar="GB,GB", help="only the peak memory of tables of these sizes")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child)
        return
    alone = given.no_torch or given.memory or given.step
    torch = None if alone else given.python or interpreter("torch")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["JAXNETS_CACHE"] = str(folder / "cache")
        if given.memory:
            peaks(folder, [float(size) for size in given.memory.split(",")])
            return
        if given.step:
            step(
                folder,
                share=given.share,
                workers=given.workers,
                repeats=given.repeats,
                steps=given.steps,
                width=given.width,
            )
            return
        print(f"python {sys.version.split()[0]}, numpy {np.__version__}, {len(os.sched_getaffinity(0))} cores, "
              f"{given.workers} workers; median (least to most) of {given.repeats} turns of {given.seconds:g} s; "
              "on the right, how many times as fast jaxnets is, and then anew")  # fmt: skip
        for row in given.only.split(","):
            print(row, flush=True)
            own = made(row, rows(folder, given.workers)[row], folder, share=given.share)
            compare(row, own, folder, repeats=given.repeats, seconds=given.seconds, torch=torch)


if __name__ == "__main__":
    main()
