"""A warm start takes what fits, names what does not, and begins everything else anew."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from small import Said, experiment, log_of, loop

from jaxnets.errors import CheckpointError, ConfigError
from jaxnets.models import MLP
from jaxnets.optim import AdamW, Group, ScheduleFreeAdamW
from jaxnets.progress import Progress
from jaxnets.run import run
from jaxnets.warm_start import read


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    one = experiment(model=MLP(widths=(8, 6)), loop=loop(steps=100))
    return run(one, tmp_path_factory.mktemp("warm") / "first", progress=Progress(quiet=True)).run_dir


def test_all_that_fits_is_taken_and_the_head_is_new(trained, tmp_path):
    said = Said()
    other = experiment(model=MLP(widths=(8, 5)), init_from=str(trained), loop=loop(steps=1, log_every=1))
    run(other, tmp_path / "run", progress=said)
    words = "\n".join(said.lines)
    assert "starts from 3 of 6 leaves" in words
    assert "params/dense1/kernel (8, 6) there, (8, 5) here" in words and "params/head/kernel (6, 3) there" in words


@pytest.mark.parametrize("optimizer", [AdamW(lr=1e-9, ema_decay=0.9), ScheduleFreeAdamW(lr=1e-9, weight_decay=None)])
def test_a_step_of_no_size_leaves_the_weights_as_they_were(optimizer, trained, tmp_path):
    """Where the optimizer or the average keep params of their own, those too begin from the weights."""
    one = experiment(model=MLP(widths=(8, 6)), optim=optimizer, init_from=str(trained), loop=loop(steps=3, log_every=1))
    again = run(one, tmp_path / "run", progress=Progress(quiet=True)).run_dir
    before, after = (load_file(folder / "weights.safetensors") for folder in (trained, again))
    for name in before:
        np.testing.assert_allclose(after[name], before[name], atol=1e-6)
    assert log_of(again)[0]["step"] == 1  # and nothing else goes on


def test_frozen_leaves_are_taken_over_too(trained, tmp_path):
    groups = (Group(pattern="dense", frozen=True),)
    one = experiment(model=MLP(widths=(8, 6)), optim=AdamW(lr=1e-2, groups=groups), init_from=str(trained))
    again = run(one, tmp_path / "run", progress=Progress(quiet=True)).run_dir
    before, after = (load_file(folder / "weights.safetensors") for folder in (trained, again))
    same = {name for name in before if np.array_equal(before[name], after[name])}
    assert same == {name for name in before if "dense" in name}


def test_a_file_of_ones_own_and_what_is_refused(trained, tmp_path):
    named = {name: array for name, array in read(str(trained)).items()}
    assert set(named) == {
        f"params/{layer}/{kind}" for layer in ("dense0", "dense1", "head") for kind in ("bias", "kernel")
    }
    save_file({"dense0/kernel": named["params/dense0/kernel"], "other": np.zeros(2)}, tmp_path / "own.safetensors")
    said = Said()
    one = experiment(init_from=str(tmp_path / "own.safetensors"), loop=loop(steps=1))
    run(one, tmp_path / "run", progress=said)
    assert any("starts from 1 of 4" in line for line in said.lines) and any(
        "not used: params/other" in n for n in said.lines
    )
    for source, error, words in (
        ("nowhere", ConfigError, "init_from 'nowhere' holds no weights; give the folder of a finished run"),
        (str(tmp_path / "bad.safetensors"), CheckpointError, "bad.safetensors is damaged"),
        (str(tmp_path / "foreign.safetensors"), ConfigError, "no weights that fit: it has params/x"),
    ):
        (tmp_path / "bad.safetensors").write_bytes(b"nonsense")
        save_file({"x": np.zeros(2)}, tmp_path / "foreign.safetensors")
        with pytest.raises(error, match=words):
            run(experiment(init_from=source), tmp_path / "refused", progress=Progress(quiet=True))
