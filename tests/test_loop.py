"""The loop alone, driven by actions that are made up: what it says of time."""

import time

import numpy as np
import pytest

from jaxnets.loop import Actions, Cadence, Loop, Notes, fit
from jaxnets.signals import Signals
from jaxnets.types import TrainState


class Late:
    """A figure of a block: on the device for a while, and on the host only once that is asked for."""

    def __init__(self, value, dtype):
        self.value, self.dtype, self.began = value, dtype, time.perf_counter()

    def is_ready(self):
        return time.perf_counter() - self.began > 0.05

    def __array__(self, dtype=None, copy=None):
        time.sleep(max(0.0, self.began + 0.2 - time.perf_counter()))
        return np.full(10, self.value, self.dtype)


def late_sums():
    return {
        "metrics": {"loss": {"total": Late(1.0, "float32"), "weight": Late(1.0, "float32")}},
        "health": {"finite": Late(True, bool), "leaf": Late(-1, "int32")},
    }


def test_blocks_that_were_done_before_the_host_looked_share_the_time():
    lines = []
    actions = Actions(
        advance=lambda state, numbers: (state, late_sums()),
        evaluate=lambda state, interrupted: {"loss": 1.0},
        save=lambda step, state, notes, value: None,
        restore=lambda: (None, {}, 0),
        log=lambda record: lines.append(record) or len(lines),
        cut=lambda offset: None,
        explain=lambda number, leaf: "",
        say=lambda line: None,
        show=lambda step, figures: None,
    )
    cadence = Cadence(40, 10, 8, lambda sums, step: {"loss": sums["loss"]["total"] / 10}, larger_is_better=False)
    loop = Loop(steps=40, log_every=10, eval_every=20, save_every=40)
    nothing = TrainState(*[None] * len(TrainState._fields))
    with Signals() as signals:
        _, _, steps = fit(nothing, Notes(), start=0, loop=loop, cadence=cadence, actions=actions, signals=signals)
    rates = [line["time"]["examples_per_second"] for line in lines if "train" in line]
    assert steps == 40 and len(rates) == 4
    assert max(rates) < 3 * min(rates)  # 80 examples in some 0.1 s each
    assert 1 / np.mean(1 / np.array(rates)) == pytest.approx(320 / 0.4, rel=0.3)
