"""A run on pairs from its folder: figures against a plain computation, the nearest text to a picture, the page."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy.special import log_softmax, softmax

from jaxnets import cli, evaluate
from jaxnets.config import Experiment
from jaxnets.data import Data, Texts, fetch, load
from jaxnets.data.stream import Wanted
from jaxnets.errors import DataError
from jaxnets.forward import load as load_forward
from jaxnets.loop import Loop
from jaxnets.models import TwoTower
from jaxnets.optim import AdamW
from jaxnets.run import run
from jaxnets.tasks import Contrastive

DATA = Data(source="synthetic:captions/16x16/40", batch_size=16, context=12, texts=Texts(tokenizer="plain", least=1))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    place = tmp_path_factory.mktemp("pairs") / "run"
    experiment = Experiment(
        data=DATA,
        model=TwoTower(embedding=4, channels=(2, 2), hidden=4, width=8, depth=1),
        task=Contrastive(recall=(1, 3)),
        optim=AdamW(lr=1e-2),
        loop=Loop(steps=4, log_every=2, eval_every=2, save_every=4, monitor="text_to_image_recall_3"),
    )
    return place, run(experiment, place).figures


def outputs_of(place):
    """Embeddings (40 d) of the test split by the exported program alone, in float64, the scale, and targets."""
    dataset = load(DATA)
    test = dataset.splits["test"]
    batch = fetch(test, Wanted(np.arange(40), np.ones(40, np.float32)))
    outputs = load_forward(place)(batch["inputs"])
    u, v = (np.asarray(outputs[name], np.float64) for name in ("image", "text"))
    u, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (u, v))
    return dataset, batch, u, v, float(outputs["scale"][0])


def test_figures_are_those_of_a_plain_computation(finished):
    place, figures = finished
    _, batch, u, v, scale = outputs_of(place)
    same = (batch["targets"][:, None] == batch["targets"][None]).any(axis=-1)
    for name, alike in (("image_to_text", u @ v.T), ("text_to_image", v @ u.T)):
        best = np.where(same, alike, -np.inf).max(axis=1, keepdims=True)
        ahead = (~same & (alike >= best)).sum(axis=1)
        for k in (1, 3):
            assert figures["test"][f"{name}_recall_{k}"] == pytest.approx((ahead < k).mean(), abs=1e-6)
    assert figures["test"]["temperature"] == pytest.approx(1 / scale, rel=1e-6)
    losses = []
    for rows in (slice(0, 16), slice(16, 32), slice(32, 40)):  # the batches of the run, the last one padded
        logits, own = scale * u[rows] @ v[rows].T, same[rows, rows] & ~np.eye(len(u[rows]), dtype=bool)
        logits = np.where(own, -1e9, logits)
        losses.append(-(np.diag(log_softmax(logits, axis=1)) + np.diag(log_softmax(logits, axis=0))) / 2)
    assert figures["test"]["loss"] == pytest.approx(np.concatenate(losses).mean(), rel=1e-5)
    again = evaluate.test(place)
    assert again == {**figures["test"], "examples": 40}
    kept = np.load(place / "evaluation.npz")
    np.testing.assert_allclose(kept["similarity"], (u * v).sum(axis=1), atol=1e-5)
    page = (place / "report.html").read_text()
    assert "cosine of an image and its own text" in page and str(kept["wrong_texts"][0]) in page


def test_predictions_are_embeddings_and_how_alike_they_are(finished):
    place, _ = finished
    dataset, batch, u, v, scale = outputs_of(place)
    texts = ["a small red circle above a large blue square", "a white cross"]
    found = evaluate.predict(place, {"image": batch["inputs"]["image"][:5], "text": texts}, batch_size=3)
    assert found["similarity"].shape == found["probabilities"].shape == (5, 2)
    np.testing.assert_allclose(found["image_embedding"], u[:5], atol=1e-5)
    np.testing.assert_allclose(found["probabilities"], softmax(scale * found["similarity"], axis=1), atol=1e-5)
    alone = evaluate.predict(place, {"text": texts})
    assert set(alone) == {"text_embedding"}
    np.testing.assert_allclose(alone["text_embedding"], found["text_embedding"], atol=1e-6)
    for wrong in (texts, {"texts": texts}, {}):
        with pytest.raises(DataError, match="this run takes {'image': …, 'text': …}, or one of the two"):
            evaluate.predict(place, wrong)


def test_a_picture_and_texts_on_the_command_line(finished, tmp_path, capsys):
    place, _ = finished
    _, batch, u, v, _ = outputs_of(place)
    Image.fromarray(batch["inputs"]["image"][0]).save(tmp_path / "0.png")
    Image.fromarray(batch["inputs"]["image"][1]).save(tmp_path / "1.png")

    def rows(*words):
        assert cli.main(["predict", str(place), *map(str, words)]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    (row,) = rows(tmp_path / "0.png", "--text", "a small red cross", "--text", "a large blue circle")
    shares = {name: value for name, value in row.items() if name.startswith("p(")}
    assert list(shares) == ["p(a small red cross)", "p(a large blue circle)"]
    assert sum(shares.values()) == pytest.approx(1)
    assert shares[f"p({row['nearest']})"] == max(shares.values()) == row["p"]
    (tmp_path / "said.csv").write_text("path,text\n0.png,a large red cross\n1.png,a small blue circle\n")
    first, second = rows(tmp_path / "said.csv")
    assert (first["text"], second["text"]) == ("a large red cross", "a small blue circle")
    assert {first["rank of text"], second["rank of text"]} <= {1, 2}
    (alone,) = rows(tmp_path / "1.png")
    assert [alone[f"e{i}"] for i in range(4)] == pytest.approx(u[1].tolist(), abs=1e-5)
    (tmp_path / "texts.csv").write_text("text\na small red cross\n")
    (alone,) = rows(tmp_path / "texts.csv")
    assert alone["text"] == "a small red cross" and len(alone) == 5
