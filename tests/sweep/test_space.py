"""The space: its spelling, its checks against a config, and what is made of the settings of a trial."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnets import models, optim
from jaxnets.config import Experiment
from jaxnets.errors import ConfigError
from jaxnets.loop import Loop
from jaxnets.sweep.space import Choice, Int, Log, Range, Uniform, active, apply, check, ordered, parse, text

BASE = Experiment(loop=Loop(steps=10))
FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.none() | st.booleans() | st.integers() | FINITE | st.text()
WHEN = st.none() | st.tuples(st.sampled_from(["optim", "model.width"]), st.integers() | st.text(min_size=1))
DIMENSIONS = (
    st.builds(Log, FINITE, FINITE, when=WHEN)
    | st.builds(Uniform, FINITE, st.integers(), when=WHEN)
    | st.builds(Int, st.integers(), st.integers(), st.booleans(), when=WHEN)
    | st.builds(lambda values, when: Choice(*values, when=when), st.lists(VALUES, min_size=1), WHEN)
    | st.builds(lambda low, size: Range(low, low + size), st.integers(-9, 9), st.integers(1, 9))
)


@settings(max_examples=40, deadline=None)
@given(DIMENSIONS)
def test_a_dimension_is_read_from_its_own_text(dimension):
    path, read = parse(f"some.path={text(dimension)}")
    assert (path, read) == ("some.path", dimension)
    assert repr(read) == repr(dimension)  # 1, 1.0 and True are equal, and are not the same


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("optim.lr=log(1e-4,1e-1)", Log(1e-4, 1e-1)),
        (" optim.lr = log( 1e-4 , 1e-1 ) ", Log(1e-4, 1e-1)),
        ("model.depth=int(2,8)", Int(2, 8)),
        ("model.depth=int(2,64,log)", Int(2, 64, log=True)),
        ("model.depth=int(1e1,1e2)", Int(10, 100)),
        ("seed=range(5)", Choice(0, 1, 2, 3, 4)),
        ("seed=range(2,9,3)", Choice(2, 5, 8)),
        ("optim.momentum=uniform(0,0.99) if optim=sgd", Uniform(0, 0.99, when=("optim", "sgd"))),
        ("model.widths=choice(64,128)", Choice(64, 128)),
        ("model.widths=choice('64,64',\"128,128\")", Choice("64,64", "128,128")),
        ("model.widths=choice((64,64),(128,))", Choice((64, 64), (128,))),
        ("optim.clip-norm=choice(none,1.0)", Choice(None, 1.0)),
        ("x=choice(true,False)", Choice(True, False)),
        ("x=choice('true')", Choice("true")),
        ("x=choice(a) if y='1'", Choice("a", when=("y", "1"))),
        ("x=choice('a,b)')", Choice("a,b)")),
    ],
)
def test_the_command_lines_spelling(given, expected):
    assert repr(parse(given)[1]) == repr(expected)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("optim.lr", "not a dimension"),
        ("optim.lr=0.1", "as in optim.lr=log"),
        ("=log(1,2)", "not a dimension"),
        ("optim.lr=log(1,2", "not a dimension"),
        ("optim.lr=lag(1e-4,1e-1)", "perhaps you meant log"),
        ("optim.lr=log(1e-4)", "not allowed; use one of"),
        ("optim.lr=choice()", "not allowed; use one of"),
        ("seed=range(0,5,0)", "not allowed"),
        ("seed=range(1.5)", "not allowed"),
        ("x=uniform(0,1) when y=2", "not a condition"),
        ("x=uniform(0,1) if y", "not a condition"),
    ],
)
def test_what_cannot_be_read_is_told(given, said):
    with pytest.raises(ConfigError, match=said):
        parse(given)


SWITCH = {"optim": Choice("adamw", "sgd")}


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({}, "empty"),
        ({"optim.lrr": Log(1e-4, 1e-1)}, "perhaps you meant lr"),
        ({"lr": Log(1e-4, 1e-1)}, "perhaps you meant optim.lr"),
        ({"optim.momentum": Uniform(0, 0.9)}, "switch with --optim sgd"),
        (SWITCH | {"optim.momentum": Uniform(0, 0.9)}, r"write optim.momentum=uniform\(0,0.9\) if optim=sgd"),
        ({"data.batch_size": Uniform(8, 64)}, r"whole number: write data.batch_size=int\(8,64\)"),
        ({"data.batch_size": Log(8.0, 64.0)}, r"write data.batch_size=int\(8,64,log\)"),
        ({"data.batch_size": Choice(8.5)}, "whole number"),
        ({"optim.lr": Choice("fast")}, "finite number"),
        ({"optim.lr": Log(0.1, 0.01)}, "do not rise"),
        ({"optim.lr": Log(0.1, 0.1)}, "do not rise"),
        ({"optim.lr": Log(0, 0.1)}, "no logarithm"),
        ({"optim.lr": Log("a", 0.1)}, "'a' is not allowed; give finite numbers"),
        ({"optim.lr": Uniform(0, float("inf"))}, "finite numbers"),
        ({"data.batch_size": Int(1.5, 3)}, "whole numbers"),
        ({"optim.lr": Uniform(-0.1, 0.1)}, "above 0"),
        ({"optim.lr": 0.1}, "no dimension"),
        ({"task.label_smoothing": Uniform(0, 1)}, "below 1"),
        ({"optim": Choice("adamw", "sdg")}, "perhaps you meant sgd"),
        ({"model.activation": Choice("relu", "rely")}, "perhaps you meant relu"),
        ({"seed": Choice()}, "nothing to choose"),
        ({"seed": Choice(1, 1)}, "twice"),
        ({"seed": Choice([1])}, "not a value"),
        ({"optim.lr": Log(1e-4, 0.1, when=("optim", "sgd"))}, "no choice of the space"),
        ({"optim.momentum": Uniform(0, 0.9, when=("optim", "sgdd"))} | SWITCH, "none of choice"),
        ({"seed": Choice(0, when=("seed", 0))}, "no choice of the space|itself"),
        (
            {"seed": Choice(0, when=("data.seed", 0)), "data.seed": Choice(0, when=("seed", 0))},
            "depends on itself|has no 'seed'",
        ),
        ({"model": Choice("gpt")}, "does not fit"),
        ({"data.valid": Choice(0.5), "data.test": Choice(0.6)}, "leave nothing to train on"),
        ({"data.augment.3.times": Int(2, 4)}, "elements"),
    ],
)
def test_a_space_that_does_not_fit_is_told_before_anything_runs(space, said):
    with pytest.raises(ConfigError, match=said) as caught:
        check(space, BASE)
    assert not space or any(path in str(caught.value) for path in space)


@pytest.mark.parametrize(
    "space",
    [
        {"optim.lr": Log(1e-4, 1e-1), "seed": Range(5), "task.label_smoothing": Choice(None, 0.1)},
        {"optim.momentum": Uniform(0, 0.9, when=("optim", "sgd"))} | SWITCH,
        SWITCH | {"optim.lr": Log(1e-4, 0.1), "optim.schedule": Choice("cosine", "constant")},
        {"model.widths": Choice("64,64", (128, 128)), "model.activation": Choice("relu", "gelu")},
        {"data.augment": Choice("flip", "()")},
        {"model": Choice("gpt", "mlp"), "task": Choice("languagemodelling", "classification")},  # fit in pairs only
        {"seed": Range(100_000)},
    ],
)
def test_a_space_that_fits_is_let_through(space):
    check(space, BASE)


def test_variants_are_switched_before_their_leaves_are_set():
    changed = apply(BASE, {"optim.momentum": 0.5, "model.widths": "32,16", "optim": "sgd", "optim.clip_norm": None})
    assert changed.optim == dataclasses.replace(optim.SGD(), momentum=0.5, clip_norm=None)
    assert changed.model == dataclasses.replace(models.MLP(), widths=(32, 16))


@settings(max_examples=20, deadline=None)
@given(st.floats(min_value=1e-300, max_value=1e300))
def test_no_digit_of_a_number_is_lost(value):
    assert apply(BASE, {"optim.lr": value}).optim.lr == value


def test_settings_that_only_fit_other_settings_are_refused_by_their_trial():
    space = {"model.width": Choice(48, 64), "model.heads": Choice(3, 4)}
    vit = dataclasses.replace(BASE, model=models.ViT())
    check(space, vit)
    with pytest.raises(ConfigError, match=r"64 does not divide over model.heads 3"):
        apply(vit, {"model.width": 64, "model.heads": 3})


def test_conditions_come_behind_what_they_depend_on():
    space = {
        "c": Uniform(0, 1, when=("b", 1)),
        "b": Choice(1, 2, when=("a", "x")),
        "a": Choice("x", "y"),
    }
    assert ordered(space) == ["a", "b", "c"]
    assert active(space["b"], {"a": "x"}) and not active(space["b"], {"a": "y"}) and not active(space["c"], {"a": "y"})
