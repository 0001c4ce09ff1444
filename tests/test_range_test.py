"""The learning-rate range test: rises, compiles once, stops where it diverges, and suggests a rate that trains."""

import numpy as np
import pytest
from small import experiment, loop

from jaxnets import cli
from jaxnets.errors import UsageError
from jaxnets.optim import SGD, AdamW, Constant
from jaxnets.progress import Progress
from jaxnets.range_test import range_test, suggest, text
from jaxnets.run import run


@pytest.fixture(scope="module")
def found():
    return range_test(experiment(optim=SGD(lr=1.0, momentum=None, nesterov=False)), low=1e-5, high=1e4, steps=120)


def test_it_stops_where_the_loss_diverges(found):
    assert len(found.rates) == len(found.losses) < 120
    assert np.isfinite(found.losses).all() and found.losses.min() < 0.9 * found.losses[0]
    ratio = found.rates[1:] / found.rates[:-1]
    np.testing.assert_allclose(ratio, ratio[0])


def test_its_suggestion_trains_better_than_a_hundredth_and_a_hundred_times_of_it(found, tmp_path):
    def end(rate):
        one = experiment(
            optim=SGD(lr=rate, momentum=None, nesterov=False, schedule=Constant()),
            loop=loop(steps=80, eval_every=80, save_every=80),
        )
        return run(one, tmp_path / str(rate), progress=Progress(quiet=True)).figures["valid"]["nll"]

    assert end(found.suggestion) < end(found.suggestion / 100)
    assert f"--optim.lr {found.suggestion:g}" in text(found)


def test_a_loss_that_never_falls_gives_no_suggestion():
    rates = np.geomspace(1e-3, 1, 20)
    assert suggest(rates, np.linspace(1, 2, 20)) is None and suggest(rates[:2], np.ones(2)) is None


def test_the_command_and_what_it_refuses(tmp_path, capsys, monkeypatch):
    assert cli.main(["lr-find", "configs/wine_mlp.py", "--steps", "30", "--optim", "adam"]) == 0
    assert "loss" in capsys.readouterr().out
    for words in (["--low", "1", "--high", "0.1"], ["--steps", "2"], ["--optim.lrr", "1"]):
        assert cli.main(["lr-find", "configs/wine_mlp.py", *words]) == 2
    assert cli.main(["lr-find", "configs/wine_mlp.py", "--steps", "many"]) == 2
    with pytest.raises(UsageError, match="give 0 < --low < --high"):
        range_test(experiment(optim=AdamW()), low=-1.0)
