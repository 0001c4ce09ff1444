"""Bare or block: which dispatch form a run uses. Chosen once by measuring, stored in the run, kept on resume.

Of several processes the first one's clock decides and its file counts; they compile and measure the same together.

A bare step costs the host some tenths of a millisecond a call; a block of steps in a loop on the device costs it once,
but a compiler may treat a loop's body worse. Neither is always faster, so both are timed, unless a step is so long
that a call cannot matter.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxnets import distributed
from jaxnets.files import read_json, write_atomically
from jaxnets.parallel import Compiled
from jaxnets.types import PyTree, TrainState

_LONG_STEP = 0.010  # seconds: from here on a call's overhead is below 2 %
_BLOCK_SECONDS = 0.1  # a block's aimed duration: signals are answered between blocks
_MOST = 128


class Dispatch(NamedTuple):
    """`advance(train_state, batch numbers) -> (train_state, stacked sums)`, at most `length` numbers a call."""

    advance: Callable[[TrainState, list[int]], tuple[TrainState, PyTree]]
    length: int
    flops: float  # of one step


def choose(
    path: Path,
    *,
    wanted: str,
    compile_form: Callable[[int], Compiled],
    feed: Callable[[list[int], int], PyTree],
    train_state: TrainState,
    copy: Callable[[PyTree], PyTree],
    longest: int,
    changed: Callable[[], None],
) -> Dispatch:
    """The stored form if `path` holds one; else the wanted form, or the faster of the two, which is then stored.

    `changed` is called if the stored form now is another program than it was; what it raises leaves the file as it is.
    """
    found = distributed.of_first("dispatch", read_json(path) if path.exists() else None)
    if found is not None:
        compiled = compile_form(int(found["length"]))
        program = distributed.of_first("program", compiled.program)
        if found["program"] not in (None, program):
            changed()
        if found["program"] != program:
            _store(path, found | {"program": program})
        return _dispatch(compiled, feed)
    bare = _by_all(compile_form, 1)
    bare_seconds = distributed.of_first("seconds", _seconds_a_step(bare, feed, copy(train_state)))
    most = max(1, min(_MOST, int(_BLOCK_SECONDS / max(bare_seconds, 1e-6))))
    length = -(-longest // -(-longest // most))  # the steps between two log lines, in blocks of one size
    chosen, block_seconds = bare, None
    if wanted == "block" or (wanted == "auto" and bare_seconds < _LONG_STEP and length > 1):
        block = _by_all(compile_form, max(2, length))
        block_seconds = distributed.of_first("seconds", _seconds_a_step(block, feed, copy(train_state)))
        if wanted == "block" or block_seconds < bare_seconds:
            chosen = block
    found = {"length": chosen.length, "bare_seconds": bare_seconds, "block_seconds": block_seconds}
    _store(path, found | {"program": chosen.program})
    return _dispatch(chosen, feed)


def _by_all(compile_form: Callable[[int], Compiled], length: int) -> Compiled:
    """Compiled, and so in all processes: a collective that waits half a minute for a slower one gives up (gloo)."""
    compiled = compile_form(length)
    distributed.gather("compiled")
    return compiled


def forget_program(path: Path) -> None:
    """Makes the form in `path`, if there is one, good for any program: config or environment have changed."""
    if distributed.first() and path.exists():
        _store(path, read_json(path) | {"program": None})


def _store(path: Path, found: dict[str, Any]) -> None:
    if not distributed.first():
        return
    write_atomically(path, (json.dumps(found) + "\n").encode())


def _dispatch(compiled: Compiled, feed: Callable[[list[int], int], PyTree]) -> Dispatch:
    def advance(train_state: TrainState, numbers: list[int]) -> tuple[TrainState, PyTree]:
        return compiled.call(train_state, feed(numbers, compiled.length), len(numbers))

    return Dispatch(advance, compiled.length, compiled.flops)


def _seconds_a_step(
    compiled: Compiled, feed: Callable[[list[int], int], PyTree], train_state: TrainState, *, repeats: int = 5
) -> float:
    """The median over a few calls, feeds included, on a copy of the state that is thrown away."""
    numbers = list(range(compiled.length))
    seconds = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        train_state, _ = compiled.call(train_state, feed(numbers, compiled.length), len(numbers))
        jax.block_until_ready(train_state)
        seconds.append((time.perf_counter() - began) / compiled.length)
    return statistics.median(seconds[1:])  # the first call wakes threads and caches
