"""Every task from data to report, on tiny models: what a run of it measures, keeps, predicts and draws."""

import dataclasses
import json

import numpy as np
import pytest
from small import experiment, loop

from jaxnets import contents, data, evaluate, predictions
from jaxnets.admission import admit_data
from jaxnets.data import Data, Mixup
from jaxnets.errors import ConfigError, DataError
from jaxnets.inspection import check
from jaxnets.models import MLP, Autoencoder, UNet
from jaxnets.optim import AdamW
from jaxnets.run import run
from jaxnets.tasks import Autoencoding, Classification, MultiLabel, Ordinal, QuantileRegression, Segmentation

SHORT = {"steps": 6, "log_every": 3, "eval_every": 6, "save_every": 6}
MASKS = Data(source="synthetic:masks/8x8x3/3/24", batch_size=8)


def labels(folder):
    """A table whose rows have any of three labels."""
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(60, 2))
    flags = np.stack([rows[:, 0] > 0, rows[:, 1] > 0, rows.sum(axis=1) > 0], axis=1).astype(int)
    lines = [",".join(map(str, (*row, *flag))) for row, flag in zip(rows.round(3), flags, strict=True)]
    (folder / "rows.csv").write_text("\n".join(["x,y,right,up,far", *lines]) + "\n")
    return Data(source=f"table:{folder / 'rows.csv'}", target="right,up,far", batch_size=16)


def trained(folder, task, monitor, **stages):
    optim = AdamW(lr=1e-2)
    return run(experiment(task=task, optim=optim, loop=loop(**SHORT, monitor=monitor), **stages), folder / "run")


def told(folder, *files):
    predictions.predict_files(folder / "run", list(files), out=folder / "told.jsonl")
    return [json.loads(line) for line in (folder / "told.jsonl").read_text().splitlines()]


def table(folder):
    return dict(np.load(folder / "run" / "evaluation.npz"))


def page(folder):
    return (folder / "run" / "report.html").read_text()


def test_several_labels_an_example(tmp_path):
    found = trained(tmp_path, MultiLabel(positive_weight=2.0), "roc_auc", data=labels(tmp_path)).figures["test"]
    assert set(found) == {"loss", "accuracy", "exact", "nll", "f1", "roc_auc", "pr_auc"}
    rows = table(tmp_path)
    assert found["accuracy"] == pytest.approx((rows["labels"] == rows["target"]).mean())
    assert "by label" in page(tmp_path) and "95 % interval" in page(tmp_path)
    first = told(tmp_path, tmp_path / "rows.csv")[0]
    assert set(first["labels"]) == {name for name in ("right", "up", "far") if first[f"p({name})"] > 0.5}


@pytest.mark.slow
def test_classes_in_order(tmp_path):
    found = trained(tmp_path, Ordinal(), "kappa").figures["test"]
    assert {"accuracy", "mae", "kappa", "nll", "balanced_accuracy"} <= set(found)
    rows = table(tmp_path)
    assert rows["probabilities"].shape[1] == 3 and np.allclose(rows["probabilities"].sum(axis=1), 1, atol=1e-5)
    assert found["mae"] == pytest.approx(np.abs(rows["class"] - rows["target"]).mean())
    assert "confusion matrix" in page(tmp_path)


def test_quantiles(tmp_path):
    source = Data(source="diabetes", batch_size=32)
    task = QuantileRegression(quantiles=(0.1, 0.5, 0.9))
    found = trained(tmp_path, task, "pinball", data=source).figures["test"]
    rows = table(tmp_path)
    within = (rows["q0.1"] <= rows["target"]) & (rows["target"] <= rows["q0.9"])
    assert found["coverage"] == pytest.approx(within.mean(), abs=1e-6) and (rows["q0.1"] <= rows["q0.9"]).all()
    assert "share of targets at or below each quantile" in page(tmp_path) and "residuals" in page(tmp_path)
    np.save(tmp_path / "x.npy", data.load(source).splits["test"].arrays["inputs"][:1])
    (first,) = told(tmp_path, tmp_path / "x.npy")
    assert first["target q0.1"] <= first["target"] == first["target q0.5"] <= first["target q0.9"]
    assert first["target"] == pytest.approx(float(rows["value"][0, 0]), rel=1e-5)


def test_embeddings(tmp_path):
    source, model = Data(source="digits", batch_size=32), Autoencoder(embedding=3, widths=(8,))
    found = trained(tmp_path, Autoencoding(noise=0.1), "mse", data=source, model=model).figures["test"]
    rows = table(tmp_path)
    assert rows["embedding"].shape == (len(rows["loss"]), 3) and "target" not in rows
    assert found["mse"] == pytest.approx(rows["loss"].mean(), rel=1e-5) == found["loss"] and found["r2"] < 1
    assert 0.5 < found["mse"] < 2  # of standardised pixels, as in training
    assert "embeddings, along the two directions" in page(tmp_path)
    images = data.load(source).splits["test"].arrays["inputs"][:2]
    np.save(tmp_path / "x.npy", images)
    first = told(tmp_path, tmp_path / "x.npy")[0]
    np.testing.assert_allclose([first[f"e{i}"] for i in range(3)], rows["embedding"][0], rtol=1e-4, atol=1e-5)
    assert evaluate.predict(tmp_path / "run", images)["reconstruction"].shape == (2, 64)


def test_masks(tmp_path):
    found = trained(tmp_path, Segmentation(), "miou", data=MASKS, model=UNet(width=4, depth=1)).figures["test"]
    rows = table(tmp_path)
    assert rows["true"].sum() == rows["found"].sum() == 24 * 64
    assert found["accuracy"] == pytest.approx(rows["hits"].sum() / rows["true"].sum(), abs=1e-6)
    both, either = rows["hits"].sum(axis=0), rows["true"].sum(axis=0) + rows["found"].sum(axis=0)
    assert found["miou"] == pytest.approx((both / (either - both))[either > 0].mean(), abs=1e-6)
    assert "IoU" in page(tmp_path) and "of 64 pixels" in page(tmp_path)
    assert contents.described(data.load(MASKS))["targets"] == "of every pixel one of 3 classes"
    image = data.fetch(data.load(MASKS).splits["test"], data.Wanted(np.arange(1), np.ones(1, "f4")))["inputs"]
    np.save(tmp_path / "x.npy", image)
    (first,) = told(tmp_path, tmp_path / "x.npy")
    assert np.array(first["mask"]).shape == (8, 8) and np.max(first["mask"]) < 3


def test_a_mask_with_a_class_that_is_not_there_is_named():
    schema, splits = data.load(MASKS)
    masks = np.zeros((24, 8, 8), np.int32)
    masks[3, 0, 0], masks[5, 1, 2] = 255, 3  # the first is a pixel of unknown class
    part = splits["train"]._replace(arrays={"targets": masks})
    with pytest.raises(DataError, match=r"row 5: its mask holds 3, which is outside 0\.\.2 and not 255"):
        check(data.Dataset(schema, splits | {"train": part}), batch_size=8)


def test_what_does_not_fit_is_refused_before_anything_compiles():
    text = Data(source="python_text", batch_size=8, context=8)
    wrong = [
        ({"task": MultiLabel()}, "task multilabel does not fit wine, whose targets are class"),
        ({"task": Segmentation(), "model": UNet()}, "task segmentation does not fit wine"),
        ({"task": Segmentation()}, "does not fit model mlp; unet goes with segmentation"),
        ({"model": Autoencoder()}, "does not fit model autoencoder; autoencoder goes with autoencoding"),
        ({"task": Autoencoding(), "model": MLP()}, "autoencoder goes with autoencoding"),
        ({"task": QuantileRegression(quantiles=(0.5, 0.1))}, r"task.quantiles \(0.5, 0.1\) do not rise"),
        ({"task": QuantileRegression(quantiles=(0.5, 1.0))}, "task.quantiles 1.0 is not allowed; give levels above 0"),
        ({"data": MASKS, "task": Classification()}, "whose targets are mask; use segmentation"),
        (
            {"data": dataclasses.replace(MASKS, augment=(Mixup(),)), "task": Segmentation(), "model": UNet()},
            "data.augment.0 mixup blends pictures, but in the masks",
        ),
        ({"data": text, "task": Autoencoding(), "model": Autoencoder()}, "task autoencoding does not fit"),
    ]
    for stages, words in wrong:
        with pytest.raises(ConfigError, match=words):
            admit_data(experiment(**stages))
