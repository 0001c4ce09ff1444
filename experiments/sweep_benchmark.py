"""How many trials an hour: `jaxnets.sweep.sweep`, what one writes by hand, Optuna around torch or a jitted step.

Each contender does the same: trials at random (learning rate, weight decay, label smoothing, seed) of an MLP with two
hidden layers on the digits, AdamW, each with its own init and order of data, and at the end nll and accuracy on valid
and test. They take turns, each in a fresh process with an empty compile cache; counted from its first line after the
imports, so with reading the data, compiling and searching:

    torch, …         Optuna, one process of torch a trial: one at a time, or as many as there are cores. A few trials
                     are run and the rest extrapolated. Needs --torch-python, or is left out
    optuna, step     Optuna in one process: a compiled step with hyperparameters as inputs, in a loop in Python
    hand, lanes      `vmap` over the trials of a scan over the steps; all at once, or 32 at a time
    hand, scanned    one trial after the other through a compiled scan
    hand, bare       one trial after the other, its compiled step called from a loop in Python
    jaxnets          `sweep(…, searcher="random")`, which takes lanes or queue, whichever it finds faster

Rows, by --only:

    mlp32, …, mlp256   the above
    asha64, asha256    `stopping="asha"` against none: the same best result, in what share of the time?
    cnn                64 trials of a small CNN on MNIST (JAXNETS_DATA): how often a program was compiled, which form
                       won, and what the choice took
    overhead           1,000 trials of almost no steps: what the engine costs a trial beside searcher and storage
    forms              64 wide: lanes against queue, each forced

A ratio is taken of each repeat; above 1 jaxnets is faster. On a machine that does other work as well the seconds of
processors are the better measure: --clock cpu (of the process and of those it starts).

    python experiments/sweep_benchmark.py [--repeats 3] [--only mlp32,asha64] [--torch-python PATH] [--quick]
"""

# ruff: noqa: E402 (the allocator is set before jax is imported)
from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from jaxnets.memory import keep_pages

keep_pages()  # before jax starts its threads, as the commands of jaxnets do

import jax
import jax.numpy as jnp
import numpy as np
from jax import monitoring
from sweep_rivals import hand, ours, under_optuna
from sweep_rivals.work import Outcome, Work

HAND = {
    "hand, lanes": hand.lanes,
    "hand, 32 lanes": partial(hand.lanes, lanes=32),
    "hand, scanned": hand.scanned,
    "hand, bare": hand.bare,
}
WIDTHS = (32, 64, 128, 256)
HALVED = (64, 256)  # widths
ROWS = (*(f"mlp{width}" for width in WIDTHS), *(f"asha{width}" for width in HALVED), "cnn", "overhead", "forms")
Found = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class How:
    """What the command line says of all rows."""

    repeats: int
    trials: int | None
    steps: int | None
    torch: Path | None
    torch_trials: int
    clock: str
    here: bool  # in this process, where programs stay compiled: for a moment's look, not for figures
    contenders: tuple[str, ...] | None

    def work(self, **wanted: Any) -> Work:
        given = {"trials": self.trials, "steps": self.steps}
        return Work(**wanted | {name: value for name, value in given.items() if value is not None})


# ---------------------------------------------------------------- one contender, measured


def contenders(how: How) -> list[str]:
    """The names for the rows of the MLP."""
    cores = len(os.sched_getaffinity(0))
    torch = [f"torch, {jobs} at a time" for jobs in sorted({1, cores})] if how.torch else []
    names = [*torch, "optuna, step", *HAND, "jaxnets"]
    return [name for name in names if how.contenders is None or name in how.contenders]


def contest(name: str, work: Work, torch: Path | None, more: dict[str, Any]) -> tuple[list[Outcome], Found]:
    """The trials' outcomes of one contender, and what else it says of itself."""
    if name in HAND:
        return HAND[name](work), {}
    if name == "optuna, step":
        return under_optuna.jitted_step(work), {}
    if name.startswith("torch") and torch:
        return under_optuna.torch_processes(work, python=torch, jobs=int(name.split()[1])), {}
    return ours.swept(work, **more)


def measured(name: str, work: Work, torch: Path | None, more: dict[str, Any]) -> Found:
    """Seconds, figures of the trials, and programs compiled, of one contender in this process."""
    compiled: list[float] = []
    listen = partial(_compiled, compiled)
    monitoring.register_event_duration_secs_listener(listen)
    began, used = time.perf_counter(), cpu_seconds()
    try:
        outcomes, about = contest(name, work, torch, more)
    finally:
        monitoring.unregister_event_duration_listener(listen)
    seconds = {"wall": time.perf_counter() - began, "cpu": cpu_seconds() - used}
    figures = np.asarray(outcomes, np.float64)  # trials × figures
    alive = figures[np.isfinite(figures[:, 0])]
    best = alive[alive[:, 0].argmin()]
    return about | {
        "seconds": seconds, "trials": len(outcomes), "failed": len(figures) - len(alive),
        "median": Outcome(*np.median(alive, axis=0)), "best": Outcome(*best), "compiled": compiled,
    }  # fmt: skip


def _compiled(found: list[float], event: str, seconds: float, **_: Any) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        found.append(seconds)


def cpu_seconds() -> float:
    """Of all threads of this process, and of the processes it has started and awaited."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def run(name: str, work: Work, how: How, **more: Any) -> Found:
    """`measured`, in a process of its own with an empty compile cache, unless all is to be done here."""
    if name.startswith("torch"):
        work = dataclasses.replace(work, trials=min(work.trials, how.torch_trials))
    if how.here:
        found = json.loads(json.dumps(measured(name, work, how.torch, more)))
    else:
        told = {"name": name, "work": dataclasses.asdict(work), "torch": str(how.torch or ""), "more": more}
        words = [sys.executable, __file__, "--child", json.dumps(told)]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
    found["median"], found["best"] = Outcome(*found["median"]), Outcome(*found["best"])
    return found


def child(told: dict[str, Any]) -> None:
    """In a process of its own: one contender, and what came of it as a line of JSON."""
    with tempfile.TemporaryDirectory() as cache:
        jax.config.update("jax_compilation_cache_dir", cache)
        jnp.ones(3).block_until_ready()  # the device is there
        torch = Path(told["torch"]) if told["torch"] else None
        print(json.dumps(measured(told["name"], Work(**told["work"]), torch, told["more"])))


def turns(contenders: dict[str, Callable[[int], Found]], repeats: int) -> dict[str, list[Found]]:
    """What each found in each repeat; another one begins each time."""
    found: dict[str, list[Found]] = {name: [] for name in contenders}
    names = list(contenders)
    for repeat in range(repeats):
        first = repeat % len(names)
        for name in names[first:] + names[:first]:
            found[name].append(contenders[name](repeat))
    return found


# ---------------------------------------------------------------- rows


def mlp(how: How, width: int) -> None:
    """Trials an hour of every contender."""
    work = how.work(width=width)
    names = contenders(how)
    found = turns(
        {name: lambda seed, name=name: run(name, dataclasses.replace(work, seed=seed), how) for name in names},
        how.repeats,
    )
    print(f"  {work.trials} trials of {work.steps} steps of {work.batch_size}")
    print(f"  {'':20} | trials/hour | speed of jaxnets over it      | median nll, accuracy | best nll, its accuracy")
    cost = {name: [one["seconds"][how.clock] / one["trials"] for one in each] for name, each in found.items()}
    for name, each in found.items():
        ratios = [other / own for other, own in zip(cost[name], cost.get("jaxnets", []), strict=False)]
        median, best = (_middle([one[key] for one in each]) for key in ("median", "best"))
        print(f"  {name:20} | {3600 / statistics.median(cost[name]):11.0f} | "
              f"{spread(ratios) if ratios and name != 'jaxnets' else '':29} | "
              f"{median.valid_nll:10.4f} {median.test_accuracy:9.4f} | {best.valid_nll:.4f} {best.test_accuracy:.4f}"
              + (f"  ({each[0]['trials']} trials, the rest extrapolated)" if name.startswith("torch") else ""),
              flush=True)  # fmt: skip
    by_hand = [name for name in HAND if name in found]
    if "jaxnets" in found and by_hand:
        better = min(by_hand, key=lambda name: statistics.median(cost[name]))
        ratios = [other / own for other, own in zip(cost[better], cost["jaxnets"], strict=True)]
        print(f"  speed of jaxnets over {better}, the best by hand: {spread(ratios)}")
    for one in found.get("jaxnets", []):
        tell(one)


def asha(how: How, width: int) -> None:
    """Early stopping against none: what it takes, and what it finds."""
    work = how.work(width=width)

    def ran(seed: int, stopping: str) -> Found:
        return run("jaxnets", dataclasses.replace(work, seed=seed), how, stopping=stopping)

    found = turns({how: partial(ran, stopping=how) for how in ("none", "asha")}, how.repeats)
    print(f"  {work.trials} trials of {work.steps} steps")
    for stopping, each in found.items():
        bests = [one["best"] for one in each]
        print(f"  {stopping:4} {spread([one['seconds'][how.clock] for one in each])} s, of them at work "
              f"{spread([at_work(one) for one in each])}; best valid nll "
              f"{spread([best.valid_nll for best in bests])}, its test accuracy "
              f"{spread([best.test_accuracy for best in bests])}")  # fmt: skip
    pairs = list(zip(found["asha"], found["none"], strict=True))
    shares = [short["seconds"][how.clock] / whole["seconds"][how.clock] for short, whole in pairs]
    worked = [at_work(short) / at_work(whole) for short, whole in pairs]
    worse = [short["best"].valid_nll - whole["best"].valid_nll for short, whole in pairs]
    print(f"  share of the time: {spread(shares)}, of that at work: {spread(worked)}; its best nll is higher by "
          f" {interval(worse)}")  # fmt: skip
    for each in found.values():
        tell(each[-1])


def at_work(one: Found) -> float:
    """Wall seconds that went into training and evaluating: without compiling."""
    return one["sweep"]["training"] + one["sweep"]["evaluating"]


def cnn(how: How) -> None:
    """Does the engine find the faster form of a small CNN, compile once, and choose fast?"""
    work = dataclasses.replace(how.work(trials=64, steps=100), batch_size=64)
    for _ in range(how.repeats):
        tell(run("jaxnets", work, how, model="cnn"))


def overhead(how: How) -> None:
    """Milliseconds a trial beside training, searcher and storage."""
    work = how.work(width=8, trials=1000, steps=2)
    each = [run("jaxnets", work, how) for _ in range(how.repeats)]
    for part in ("engine", "searcher", "storage"):
        print(f"  {part}: {spread([1000 * one['sweep'][part] / one['trials'] for one in each])} ms a trial")
    tell(each[-1])


def forms(how: How) -> None:
    """Lanes against queue, on the devices at hand."""
    work = how.work(width=64)
    found = turns({form: lambda _, form=form: run("jaxnets", work, how, form=form) for form in ("lanes", "queue")},
                  how.repeats)  # fmt: skip
    for part in ("wall", "training"):
        seconds = {form: [one["sweep"][part] for one in each] for form, each in found.items()}
        ratios = [queue / lanes for queue, lanes in zip(seconds["queue"], seconds["lanes"], strict=True)]
        print(f"  {part}: lanes {spread(seconds['lanes'])} s, queue {spread(seconds['queue'])} s; "
              f"lanes are {spread(ratios)} × as fast")  # fmt: skip


def tell(one: Found) -> None:
    """Where the seconds of a sweep of jaxnets went."""
    sweep, trials = one["sweep"], one["trials"]
    parts = ", ".join(f"{name} {seconds:.2f}" for name, seconds in sweep.items() if name != "wall")
    whole = one["seconds"]
    print(f"  jaxnets: {sweep['wall']:.2f} s wall ({whole['wall']:.2f} with all, {whole['cpu']:.2f} of CPU): {parts}; "
          f"engine {1000 * sweep['engine'] / trials:.2f} ms a trial; {one['failed']} did not end")  # fmt: skip
    large = [seconds for seconds in one["compiled"] if seconds > 0.1]
    print(f"    {len(large)} programs of more than 0.1 s compiled ({sum(large):.2f} s), {len(one['compiled'])} in all; "
          f"the choice took {100 * sweep['measuring'] / max(sweep['wall'], 1e-9):.1f} % of the wall")  # fmt: skip
    for group in one["groups"]:
        print(f"    {json.dumps(group)}", flush=True)


def spread(values: list[float]) -> str:
    """`median (least to most)`."""
    return f"{statistics.median(values):.4g} ({min(values):.4g} to {max(values):.4g})"


def interval(values: list[float]) -> str:
    """The mean and its interval of 95 %, by Student's t."""
    if len(values) < 2:
        return f"{values[0]:.4f} (one repeat)"
    from scipy import stats

    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{statistics.mean(values):.4f} ± {half:.4f}"


def _middle(outcomes: list[Outcome]) -> Outcome:
    return Outcome(*(statistics.median(column) for column in zip(*outcomes, strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default=",".join(ROWS), help="rows, by comma (default: all)")
    parser.add_argument("--contenders", help="of the rows of the MLP, by semicolon (default: all)")
    parser.add_argument("--trials", type=int, help="a sweep, in place of each row's own number")
    parser.add_argument("--steps", type=int, help="a trial, in place of each row's own number")
    parser.add_argument("--torch-python", type=Path, help="the python of an environment with torch and NumPy")
    parser.add_argument("--torch-trials", type=int, default=4, help="that are run for real")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--quick", action="store_true", help="a few trials of a few steps, all in this process")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(json.loads(given.child))
        return
    if given.quick:
        given.repeats, given.trials, given.steps = 1, given.trials or 4, given.steps or 20
    names = tuple(given.contenders.split(";")) if given.contenders else None
    how = How(given.repeats, given.trials, given.steps, given.torch_python, given.torch_trials, given.clock,
              given.quick, names)  # fmt: skip
    print(f"jax {jax.__version__}, python {sys.version.split()[0]}, {jax.devices()[0].device_kind}, "
          f"{len(os.sched_getaffinity(0))} cores; median (least to most) of {how.repeats} repeats in turns; "
          f"{how.clock} seconds")  # fmt: skip
    if how.torch is None:
        print("without torch: give --torch-python for its rows")
    rows = {f"mlp{width}": partial(mlp, width=width) for width in WIDTHS}
    rows |= {f"asha{width}": partial(asha, width=width) for width in HALVED}
    rows |= {"cnn": cnn, "overhead": overhead, "forms": forms}
    for name in given.only.split(","):
        print(name, flush=True)
        rows[name](how)


if __name__ == "__main__":
    main()
