"""The recipes reach what their docstrings promise: the figures of the README, by `pytest -m slow`."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.decomposition import PCA
from sklearn.linear_model import QuantileRegressor, RidgeCV
from sklearn.metrics import mean_pinball_loss
from sklearn.preprocessing import StandardScaler

from jaxnets import config, data
from jaxnets.admission import admit
from jaxnets.rehearsal import lowered
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
        pytest.param("moving_digits_r2plus1d", 0.97, "seed", 1, marks=slow),
        pytest.param("breast_cancer_mlp", 0.965, "data__split_seed", 5, marks=slow),
        pytest.param("wine_mlp", 0.97, "data__split_seed", 5, marks=slow),
        pytest.param("sst2", 0.80, "seed", 5, marks=[*slow, needs_data]),
        pytest.param("fsdd", 0.98, "seed", 1, marks=[*slow, needs_data]),
        pytest.param("mnist_cnn", 0.994, "seed", 1, marks=[*slow, needs_data]),
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
def test_diabetes_quantiles_against_linear_ones_on_the_same_splits(tmp_path):
    levels, pairs = (0.05, 0.25, 0.5, 0.75, 0.95), []
    for seed in range(5):
        ours = figures("diabetes_quantiles", tmp_path, data__split_seed=seed)["test"]["pinball"]
        splits = data.load(data.Data(source="diabetes", split_seed=seed)).splits
        x, y = ({name: splits[name].arrays[key] for name in splits} for key in ("inputs", "targets"))
        scaler, theirs = StandardScaler().fit(x["train"]), []
        for level in levels:
            line = QuantileRegressor(quantile=level, alpha=0.0).fit(scaler.transform(x["train"]), y["train"].ravel())
            found = line.predict(scaler.transform(x["test"]))
            theirs.append(mean_pinball_loss(y["test"].ravel(), found, alpha=level))
        pairs.append((ours, np.mean(theirs)))
    ours, theirs = np.mean(pairs, axis=0)
    print("diabetes quantiles", ours, theirs, ours / theirs)
    assert ours <= 1.05 * theirs


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_digits_autoencoder_against_as_many_principal_components(tmp_path):
    ours = figures("digits_autoencoder", tmp_path)["test"]["mse"]
    schema, splits = data.load(data.Data(source="digits"))
    x = {n: np.asarray(data.preprocess(schema, splits[n].arrays["inputs"])).reshape(-1, 64) for n in splits}
    linear = PCA(8).fit(x["train"])
    theirs = np.square(linear.inverse_transform(linear.transform(x["test"])) - x["test"]).mean()
    print("digits autoencoder", ours, theirs)
    assert ours < theirs


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_single_frame_of_moving_digits_says_nothing(tmp_path):
    single = recipe("moving_digits_r2plus1d", {"data.source": "synthetic:moving_digits/1x16x16/8192"})
    found = run(single, tmp_path / "single").figures["test"]["accuracy"]
    print("one frame", found)
    assert found < 1 / 8 + 5 * np.sqrt(1 / 8 * 7 / 8 / 1024)  # five deviations of 1024 guesses


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_shapes_unet(tmp_path):
    found = figures("shapes_unet", tmp_path)["test"]
    print("shapes", found)
    assert found["miou"] >= 0.9


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_shapes_two_tower(tmp_path):
    found = figures("shapes_two_tower", tmp_path)["test"]
    print("shapes, two towers", found)
    assert min(found["image_to_text_recall_1"], found["text_to_image_recall_1"]) >= 0.9


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


# ---------------------------------------------------------------- recipes whose data or devices are not at hand

NOISE = {  # of the schema of their data
    "cifar10_resnet9": "synthetic:image/32x32x3/10",
    "imagenet_vit_s16": "synthetic:image/224x224x3/1000",
    "imagenet_resnet50": "synthetic:image/224x224x3/1000",
    "gpt2_124m": "synthetic:tokens/50257",
}
SMALL = {  # the same structure, of a width that two cores train in seconds
    "cifar10_resnet9": {"data.source": "synthetic:image/32x32x3/10/64", "model.width": 4, "optim.lr": 1e-3},
    "imagenet_vit_s16": {
        "data.source": "synthetic:image/64x64x3/10/64", "model.width": 48, "model.mlp_width": 96,
        "model.head_width": 48,
    },
    "gpt2_124m": {
        "data.source": "synthetic:tokens/211/64", "data.vocabulary": 211, "data.context": 32, "model.context": 32,
        "model.width": 48,
    },
}  # fmt: skip
MEMORY = 16 * 2**30  # bytes of a TPU v5e chip


def recipe(name, settings):
    pairs = [(path, str(value)) for path, value in settings.items()]
    return config.assign(config.load(CONFIGS / f"{name}.py"), pairs)


def trained(name, tmp_path, **settings):
    """(losses logged, result.json) of 20 steps."""
    loop = {
        "loop.epochs": "none",
        "loop.steps": 20,
        "loop.log_every": 5,
        "loop.eval_every": 20,
        "loop.dispatch": "bare",
    }
    result = run(recipe(name, settings | loop), tmp_path / name)
    lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
    losses = [float(found[1]) for line in lines if (found := re.search(r'"loss": ([0-9.]+)', line))]
    assert result.figures["steps"] == 20 and len(losses) >= 4 and np.isfinite(losses).all()
    return losses, result.figures


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_a_recipe_trains_on_noise_of_its_schema(name, tmp_path):
    losses, figures = trained(name, tmp_path, **SMALL[name] | {"data.batch_size": 8})
    chance = np.log(211 if name == "gpt2_124m" else 10)
    assert 0 < losses[0] < 3 * chance and np.isfinite(figures["test"]["nll"]), (losses, figures)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", NOISE)
def test_a_recipe_trains_on_noise_of_its_schema_at_its_own_size(name, tmp_path):
    trained(name, tmp_path, **{"data.source": NOISE[name] + "/4", "data.batch_size": 4})


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", NOISE)
def test_a_recipe_compiles_for_its_topology_and_fits(name, monkeypatch):
    pytest.importorskip("libtpu", reason="programs for TPUs are compiled by libtpu: pip install libtpu")
    monkeypatch.setenv("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # other tests may compile for TPUs at the same time
    from jax.experimental import topologies

    (topology,) = re.findall(r"^topology +(\S+)$", (CONFIGS / f"{name}.py").read_text(), re.MULTILINE)
    devices = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
    program, _ = lowered(admit(recipe(name, {"data.source": NOISE[name]}), devices=devices))
    memory = program.compile().memory_analysis()
    used = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    print(name, topology, f"{used / 2**30:.2f} GiB a chip")
    assert 0 < used < MEMORY
