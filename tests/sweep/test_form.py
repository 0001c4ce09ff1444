"""Lanes or queue: what is asked for, what fits, what is faster; and what a device without room says."""

import jax
import pytest
from small import experiment, loop

from jaxnets.admission import admit
from jaxnets.config import assign
from jaxnets.data import Data
from jaxnets.errors import ConfigError
from jaxnets.models import MLP, ResNet9
from jaxnets.sweep import Log, Range, sweep
from jaxnets.sweep import form as forms
from jaxnets.sweep.form import choose
from jaxnets.sweep.program import Program

SHORT = {"steps": 6, "log_every": 3, "eval_every": 3, "save_every": 6}


@pytest.fixture
def admitted():
    return admit(experiment(loop=loop(**SHORT)))


def chosen(admitted, **how):
    return choose(admitted, [admitted.experiment], **{"waiting": 8} | how)


def test_what_is_asked_for_is_not_measured(admitted):
    lanes, queue = chosen(admitted, form="lanes"), chosen(admitted, form="queue")
    assert (lanes.form, lanes.program.lanes, queue.form) == ("lanes", 8, "queue")
    assert lanes.measuring == queue.measuring == 0 and lanes.queue_seconds is None


def test_the_faster_one_is_taken_and_both_are_told(admitted, monkeypatch):
    monkeypatch.setattr(forms, "_WORTH_ON_A_CPU", 0.0)
    for lanes, queue in ((1.0, 2.0), (2.0, 1.0)):
        seconds = lambda self, program, pair=(queue, lanes): pair[program.together]  # noqa: E731
        monkeypatch.setattr(forms._Choice, "_seconds", seconds)
        found = chosen(admitted)
        assert found.form == ("lanes" if lanes < queue else "queue")
        assert (found.lanes_seconds, found.queue_seconds) == (lanes, queue)


def test_work_that_is_done_sooner_than_a_program_is_compiled_is_not_measured(admitted):
    conv = admit(experiment(loop=loop(**SHORT), data=Data(source="digits", batch_size=8), model=ResNet9(width=4)))
    large = admit(experiment(loop=loop(**SHORT), model=MLP(widths=(1024, 1024))))
    for given, waiting, form in (
        (admitted, 8, "lanes"),
        (admitted, 3, "queue"),
        (conv, 8, "queue"),
        (large, 8, "queue"),
    ):
        found = chosen(given, waiting=waiting)
        assert found.form == form and "not worth" in found.why
        assert found.lanes_seconds is None and found.queue_seconds is None


def test_a_call_of_a_queue_leaves_trials_for_the_other_devices(admitted):
    lanes = [chosen(admitted, form="queue", devices=jax.local_devices()[:1] * n).program.lanes for n in (1, 2)]
    assert lanes == [8, 4]


def test_lanes_are_halved_until_they_fit(admitted):
    one = Program(admitted, lanes=8).bytes
    found = chosen(admitted, form="lanes", limit=one - 1)
    assert 1 <= found.program.lanes < 8 and found.program.bytes <= one - 1


def test_more_lanes_than_memory_are_refused(admitted):
    with pytest.raises(ConfigError, match="16 lanes need .* MiB .* --lanes"):
        chosen(admitted, form="lanes", lanes=16, limit=1000)


def test_a_plan_that_divides_a_model_is_refused(tmp_path):
    base = assign(experiment(loop=loop(**SHORT)), [("plan.fsdp", "2")])
    with pytest.raises(ConfigError, match="plan.fsdp 2"):
        sweep(base, {"optim.lr": Log(1e-3, 1e-1)}, name="s", folder=tmp_path, trials=2)


def test_a_device_that_runs_out_of_memory_gets_half_the_lanes(tmp_path, monkeypatch):
    """As where another program takes what was free while lanes were measured."""
    whole, failed = Program.advance, []

    def advance(self, *given):
        if self.lanes > 2:
            failed.append(self.lanes)
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes")
        return whole(self, *given)

    monkeypatch.setattr(Program, "advance", advance)
    said = []
    figures = sweep(
        experiment(loop=loop(**SHORT)), {"optim.lr": Log(1e-3, 1e-1), "seed": Range(3)}, name="s", folder=tmp_path,
        trials=8, searcher="random", form="lanes", say=said.append,
    ).figures  # fmt: skip
    assert failed == [8, 4] and [one["state"] for one in figures["trials"]] == ["complete"] * 8
    assert any("out of memory" in line for line in said)


def test_data_that_is_read_while_training_is_shared_and_that_is_told(tmp_path):
    base = assign(experiment(loop=loop(**SHORT)), [("data.placement", "host")])
    said = []
    figures = sweep(
        base, {"optim.lr": Log(1e-3, 1e-1)}, name="s", folder=tmp_path, trials=6, searcher="random", form="lanes",
        lanes=4, say=said.append,
    ).figures  # fmt: skip
    assert [one["state"] for one in figures["trials"]] == ["complete"] * 6
    assert any("same batches" in line for line in said)
