"""Models of tables: their input layer against its formulas, members against single nets, a run from file to rows."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pandas
import pytest

from jaxnets import evaluate
from jaxnets.config import Experiment, check
from jaxnets.data import Data
from jaxnets.errors import ConfigError, DataError
from jaxnets.loop import Loop
from jaxnets.models import FTTransformer, TabularMLP, ft_transformer, tabular_mlp
from jaxnets.models.cells import Cells, row_of
from jaxnets.optim import AdamW
from jaxnets.run import run
from jaxnets.tasks import Regression

SIZES = (3, 5)
draw = np.random.default_rng(0)
ROWS = {
    "numbers": jnp.asarray(draw.normal(size=(6, 4)), jnp.float32),
    "categories": jnp.asarray(draw.integers(0, SIZES, (6, 2)), jnp.int32),
    "flags": jnp.asarray(draw.integers(0, 2, (6, 3)), jnp.float32),
}


def test_cells_are_the_formulas_of_the_paper():
    layer = Cells(SIZES, 8, 0.3, 5)
    params = layer.init(jax.random.key(0), row_of(ROWS))["params"]
    found = layer.apply({"params": params}, row_of(ROWS))
    values = jax.tree.map(np.asarray, params)
    x, c = np.asarray(ROWS["numbers"], np.float64), values["periodic"]["frequency"]
    assert c.shape == (4, 5) and 0.1 < c.std() < 0.6
    phase = 2 * np.pi * c * x[:, :, None]
    wave = np.concatenate([np.sin(phase), np.cos(phase)], axis=2)
    kernel, bias = values["numbers"]["kernel"], values["numbers"]["bias"]
    expected = [np.maximum(wave[:, n] @ kernel[n] + bias[n], 0) for n in range(4)]
    table, codes = values["categories"]["embedding"], np.asarray(ROWS["categories"])
    expected += [table[:3][codes[:, 0]], table[3:][codes[:, 1]]]
    np.testing.assert_allclose(found, np.stack(expected, axis=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [tabular_mlp, ft_transformer])
def test_every_part_of_a_row_is_seen_and_codes_of_a_column_are_its_own(make):
    small = {"widths": (8,)} if make is tabular_mlp else {"width": 8, "depth": 1, "heads": 2, "mlp_width": 8}
    model = make(2, cardinalities=SIZES, **small)
    params, state = model.init(jax.random.key(0), ROWS)
    outputs = model.apply(params, state, ROWS)[0]
    for name, index in (("numbers", 3), ("categories", 0), ("categories", 1), ("flags", 2)):
        one = {**ROWS, name: ROWS[name].at[0, index].set(1 - ROWS[name][0, index] if name == "flags" else 2)}
        one = one if name != "categories" else {**ROWS, name: ROWS[name].at[0, index].add(1) % jnp.asarray([SIZES])}
        changed = model.apply(params, state, one)[0]
        assert not np.allclose(changed[0], outputs[0], atol=1e-6), name
        np.testing.assert_allclose(changed[1:], outputs[1:], atol=1e-5)
    with pytest.raises(ValueError, match="2 categories, but 1 cardinalities"):
        make(2, cardinalities=(3,), **small).init(jax.random.key(0), ROWS)


def test_members_are_the_mean_of_single_nets_and_take_turns_in_training():
    model = tabular_mlp(2, cardinalities=SIZES, widths=(8,), members=3)
    params, state = model.init(jax.random.key(0), ROWS)
    alone = tabular_mlp(2, cardinalities=SIZES, widths=(8,))
    outputs = []
    for member in range(3):
        own = {name: tree for name, tree in params.items() if name != "apart"}
        kernel = own["dense0"]["kernel"] * params["apart"]["scale"][member][:, None]
        head = {name: leaf.reshape(*leaf.shape[:-1], 3, 2)[..., member, :] for name, leaf in own["head"].items()}
        own |= {"dense0": own["dense0"] | {"kernel": kernel}, "head": head}
        outputs.append(alone.apply(own, state, ROWS)[0])
    tolerance = dict(rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.apply(params, state, ROWS)[0], np.mean(outputs, axis=0), **tolerance)
    turns = [outputs[row % 3][row] for row in range(6)]
    np.testing.assert_allclose(model.apply(params, state, ROWS, train=True)[0], turns, **tolerance)
    assert not np.allclose(outputs[0], outputs[1])


def test_whole_cells_drop_out():
    model = tabular_mlp(2, cardinalities=SIZES, widths=(8,), cell_dropout=0.5)
    params, state = model.init(jax.random.key(0), ROWS)
    many = jax.tree.map(lambda leaf: jnp.concatenate([leaf[:1]] * 400), ROWS)
    seen = model.apply(params, state, many, train=True, key=jax.random.key(1))[0]
    assert len(np.unique(np.asarray(seen).round(5), axis=0)) > 100  # of 2 ** 13 sets of cells
    np.testing.assert_array_equal(model.apply(params, state, ROWS)[0], alone(params, state))


def alone(params, state):
    return tabular_mlp(2, cardinalities=SIZES, widths=(8,)).apply(params, state, ROWS)[0]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Prices that are a product, of a size with holes, a kind and a date."""
    draw = np.random.default_rng(2)
    size, kind = draw.lognormal(0, 1, 240), draw.choice(["plain", "fine"], 240)
    frame = pandas.DataFrame({"size": np.where(draw.random(240) < 0.1, np.nan, size), "kind": kind})
    frame["price"] = (100 * size * np.where(kind == "fine", 3, 1)).round(2)
    path = tmp_path_factory.mktemp("table") / "prices.csv"
    frame.to_csv(path, index=False)
    return path, frame


def experiment(path, model, **more):
    return Experiment(
        data=Data(source=f"table:{path}", target="price", batch_size=32),
        model=model,
        task=Regression(transform="log"),
        optim=AdamW(lr=1e-2, ema_decay=0.9),
        loop=Loop(steps=120, log_every=60, eval_every=60, save_every=120, monitor="rmse"),
        **more,
    )


@pytest.mark.parametrize(
    "model",
    [
        TabularMLP(widths=(32,), cell_width=4, frequencies=4, members=2),
        pytest.param(FTTransformer(width=16, depth=1, heads=2, mlp_width=16), marks=pytest.mark.slow),
    ],
    ids=["tabularmlp", "fttransformer"],
)
def test_from_a_file_to_predictions_in_the_unit_of_the_target(table, model, tmp_path):
    path, frame = table
    figures = run(experiment(path, model), tmp_path / "run").figures
    assert figures["test"]["rmse"] < 0.75 * frame["price"].std() and figures["test"]["r2"] > 0.4
    rows = np.load(tmp_path / "run" / "evaluation.npz")
    found = evaluate.predict(tmp_path / "run", frame.drop(columns="price"))["value"][:, 0]
    np.testing.assert_allclose(found[rows["row"]], rows["value"][:, 0], rtol=1e-5)
    error = found[rows["row"]] - frame["price"].to_numpy()[rows["row"]]
    assert figures["test"]["rmse"] == pytest.approx(np.sqrt(np.square(error).mean()), rel=1e-4)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["task"]["transform"] == "log"


def test_what_does_not_fit_is_refused_before_anything_compiles(table, tmp_path):
    path, frame = table
    zero = tmp_path / "zero.csv"
    frame.assign(price=np.where(np.arange(240) == 7, 0.0, frame["price"])).to_csv(zero, index=False)
    with pytest.raises(DataError, match=r"zero.csv, row 7: target \[0.0\] has no logarithm"):
        run(experiment(zero, TabularMLP()), tmp_path / "run")
    images = Experiment(data=Data(source="digits"), model=TabularMLP(), loop=Loop(steps=1))
    with pytest.raises(ConfigError, match="tabularmlp takes tables and rows, but digits holds images"):
        run(images, tmp_path / "run")
    with pytest.raises(ConfigError, match="width 9 does not divide over model.heads 2"):
        check(Experiment(model=FTTransformer(width=9, heads=2), loop=Loop(steps=1)))
    with pytest.raises(ConfigError, match=r"model.sigma 0.0 is not allowed; give a number above 0"):
        check(Experiment(model=TabularMLP(sigma=0.0)))
