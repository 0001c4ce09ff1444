"""The recipes reach what their docstrings promise: the figures of the README, by `pytest -m slow`."""

import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import RidgeCV

from jaxnets import config, data
from jaxnets.run import run

CONFIGS = Path(__file__).parents[1] / "configs"
slow = [pytest.mark.slow, pytest.mark.timeout(3600)]
needs_data = pytest.mark.skipif("JAXNETS_DATA" not in os.environ, reason="JAXNETS_DATA does not name the data sets")


def figures(name, tmp_path, **settings):
    """`result.json` of one recipe, with some values set as on the command line (`__` for a dot)."""
    pairs = [(path.replace("__", "."), str(value)) for path, value in settings.items()]
    experiment = config.assign(config.load(str(CONFIGS / f"{name}.py")), pairs)
    words = "-".join(value for _, value in pairs) or "default"
    return run(experiment, tmp_path / f"{name}-{words}").figures


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.py")), ids=lambda path: path.stem)
def test_every_recipe_is_allowed_and_says_what_to_expect(path):
    config.check(config.load(str(path)))
    text = path.read_text()
    assert all(word in text.split('"""')[1] for word in ("command ", "hardware ", "expected "))


@pytest.mark.parametrize(
    ("name", "least", "key", "count"),
    [
        pytest.param("digits_cnn", 0.985, "seed", 3, marks=slow),
        pytest.param("digits_mlp", 0.97, "seed", 3, marks=slow),
        pytest.param("breast_cancer_mlp", 0.965, "data__split_seed", 5, marks=slow),
        pytest.param("wine_mlp", 0.97, "data__split_seed", 5, marks=slow),
        pytest.param("mnist_cnn", 0.992, "seed", 1, marks=[*slow, needs_data]),
    ],
)
def test_accuracy(name, least, key, count, tmp_path):
    found = [figures(name, tmp_path, **{key: number})["test"]["accuracy"] for number in range(count)]
    print(name, found, np.mean(found))
    assert np.mean(found) >= least, found


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_diabetes_against_ridge_on_the_same_splits(tmp_path):
    ratios = []
    for seed in range(5):
        ours = figures("diabetes_mlp", tmp_path, data__split_seed=seed)["test"]["rmse"]
        splits = data.load(data.Data(source="diabetes", split_seed=seed)).splits
        x, y = ({name: splits[name].arrays[key] for name in splits} for key in ("inputs", "targets"))
        assert sum(map(len, y.values())) == len(load_diabetes().target)
        ridge = RidgeCV(alphas=np.logspace(-3, 3, 25)).fit(x["train"], y["train"].ravel())
        theirs = np.sqrt(np.mean((ridge.predict(x["test"]) - y["test"].ravel()) ** 2))
        ratios.append((ours, theirs))
    ours, theirs = np.mean(ratios, axis=0)
    print("diabetes", ours, theirs, ours / theirs)
    assert ours <= 1.02 * theirs


@pytest.mark.slow
@pytest.mark.timeout(3600)
@needs_data
def test_shakespeare(tmp_path):
    found = figures("shakespeare_gpt", tmp_path)
    print("shakespeare", found["valid"]["loss"], found["test"]["loss"])
    assert found["valid"]["loss"] <= 1.85 and found["test"]["loss"] <= 1.85


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_python_text(tmp_path):
    """The text is that of this interpreter, so the figure is a bound for all of 3.11 to 3.13."""
    found = figures("python_text_gpt", tmp_path)["test"]["bits_per_byte"]
    print("python_text", found)
    assert found <= 1.9
