"""Seeds in lanes: each member's folder is that of a run, whoever trained it, and whatever ended the lanes."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from small import Said, experiment, leaves_of, log_of, loop

from jaxnets.config import assign
from jaxnets.errors import Interrupted
from jaxnets.series import members, series
from jaxnets.signals import Signals
from jaxnets.sweep.seeds import train_together

SHORT = {"steps": 12, "log_every": 3, "eval_every": 4, "save_every": 6, "dispatch": "block"}


class Ends(Signals):
    """As if a signal came at the n-th look."""

    def __init__(self, looks):
        self._looks = looks
        super().__init__()

    @property
    def received(self):
        self._looks -= 1
        return 15 if self._looks < 0 else 0

    @received.setter
    def received(self, value): ...


def base(**changes):
    return experiment(loop=loop(**SHORT | changes))


def in_lanes(folder, one, signals=None, say=lambda line: None):
    def ahead(runs, folder, own):
        assert train_together(runs, folder, form="lanes", signals=signals or own, say=say)

    return series(one, folder, by="seeds", count=3, progress=Said(), ahead=ahead).figures


def test_lanes_leave_what_runs_leave(tmp_path):
    lanes = in_lanes(tmp_path / "lanes", base())
    runs = series(base(), tmp_path / "runs", by="seeds", count=3, progress=Said()).figures
    for figure, found in lanes["test"].items():
        assert found["mean"] == pytest.approx(runs["test"][figure]["mean"], rel=1e-4)
    for name in ("seed_0", "seed_2"):
        one, other = log_of(tmp_path / "lanes" / name), log_of(tmp_path / "runs" / name)
        assert [line.keys() for line in one] == [line.keys() for line in other]
        for mine, theirs in zip(one, other, strict=True):
            for part in mine.keys() & {"train", "valid"}:
                assert mine[part] == pytest.approx(theirs[part], rel=1e-3, abs=1e-5)
        assert list(leaves_of(tmp_path / "lanes" / name)) == list(leaves_of(tmp_path / "runs" / name))
        weights = [load_file(tmp_path / where / name / "weights.safetensors") for where in ("lanes", "runs")]
        for path, value in weights[0].items():
            np.testing.assert_allclose(value, weights[1][path], atol=1e-4)


def test_what_a_signal_ended_goes_on_bit_for_bit(tmp_path):
    in_lanes(tmp_path / "whole", base())
    with pytest.raises(Interrupted, match="saved at step"):
        in_lanes(tmp_path / "cut", base(), Ends(2))
    steps = list(leaves_of(tmp_path / "cut" / "seed_1"))
    assert 0 < steps[-1] < 12
    for name in ("seed_0", "seed_1"):
        path = tmp_path / "cut" / name / "env.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"python": "3.9.0"}))
    said = []
    in_lanes(tmp_path / "cut", base(), say=said.append)
    assert sum("another environment than before (python)" in line for line in said) == 1
    for name in ("seed_0", "seed_1", "seed_2"):
        assert log_of(tmp_path / "cut" / name) == log_of(tmp_path / "whole" / name)
        assert leaves_of(tmp_path / "cut" / name)[12] == leaves_of(tmp_path / "whole" / name)[12]


def test_runs_go_on_where_lanes_ended(tmp_path):
    with pytest.raises(Interrupted):
        in_lanes(tmp_path, base(), Ends(2))
    said = Said()
    figures = series(base(), tmp_path, by="seeds", count=3, progress=said).figures
    assert figures["finished"] == 3 and sum("continues" in line for line in said.lines) == 3
    assert json.loads((tmp_path / "seed_1" / "result.json").read_text())["steps"] == 12


def test_what_cannot_be_lanes_is_left_to_runs(tmp_path):
    for settings in ([("loop.patience", "2")], [("loop.nonfinite", "rollback")], [("data.placement", "host")]):
        runs = members(assign(base(), settings), by="seeds", count=2)
        said = []
        assert not train_together(runs, tmp_path, form="lanes", signals=Signals(), say=said.append)
        assert "one after the other" in said[-1]
