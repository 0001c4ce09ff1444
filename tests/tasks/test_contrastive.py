"""Pairs of images and texts: the loss in closed form, padding that is no wrong answer, and towers that learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.metrics import top_k_accuracy_score

from jaxnets import optim
from jaxnets.metrics import gather
from jaxnets.models import two_tower
from jaxnets.step import init_state, make_eval_step, make_step, results
from jaxnets.tasks import contrastive

TASK = contrastive()


def test_the_loss_is_its_closed_form_and_padding_is_no_wrong_answer():
    draw = np.random.default_rng(0)
    image, text = draw.normal(size=(2, 5, 3))
    given = {"image": image, "text": text, "scale": np.full(5, 3.0)}
    u, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (image[:4], text[:4]))
    expected = [-(np.diag(log_softmax(3 * a @ b.T, axis=1))) for a, b in ((u, v), (v, u))]
    outputs = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), given)
    losses, weights = TASK.loss(outputs, (), jnp.asarray([1.0, 1, 1, 1, 0]))
    np.testing.assert_allclose(losses[:4], np.mean(expected, axis=0), rtol=1e-5)
    assert np.isfinite(losses).all() and weights[4] == 0


def test_pairs_that_share_an_image_or_a_text_are_not_each_others_wrong_answers():
    """In closed form: the softmax of each row leaves them out, and the figure of the batch does, too."""
    draw = np.random.default_rng(2)
    outputs = {"image": draw.normal(size=(5, 3)), "text": draw.normal(size=(5, 3)), "scale": np.full(5, 2.0)}
    targets = np.array([[0, 0], [0, 1], [1, 1], [2, 2], [3, 3]], np.int32)  # 0 and 1 an image, 1 and 2 a text
    u, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (outputs["image"], outputs["text"]))
    logits, expected, right = 2 * u @ v.T, np.zeros(5), np.zeros(5)
    for i in range(5):
        others = [j for j in range(5) if j == i or (targets[i] != targets[j]).all()]
        for row in (logits[i], logits[:, i]):
            expected[i] -= log_softmax(row[others])[others.index(i)] / 2
            right[i] += (row[others].argmax() == others.index(i)) / 2
    outputs = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), outputs)
    weight = jnp.ones(5)
    losses, _ = TASK.loss(outputs, jnp.asarray(targets), weight)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    accuracy = TASK.metrics["accuracy"]
    assert accuracy.result(accuracy.update(outputs, jnp.asarray(targets), weight)) == pytest.approx(right.mean())
    temperature = TASK.metrics["temperature"]
    assert temperature.result(temperature.update(outputs, (), weight)) == pytest.approx(0.5)


@pytest.mark.parametrize("same", [False, True])
def test_recall_over_uneven_batches_is_that_of_scikit_learn(same):
    """Without shared texts top_k_accuracy_score; with them a plain ranking. In batches of 16, the last one padded."""
    draw, count = np.random.default_rng(3), 53
    image = draw.normal(size=(count, 6))
    text = image + draw.normal(size=(count, 6))
    texts = np.arange(count) // 3 if same else np.arange(count)
    text = text[np.unique(texts, return_index=True)[1]][texts] if same else text  # equal texts lie at one place
    u, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (image, text))
    task, total = contrastive(recall=(1, 5)), None
    for start in range(0, count, 16):
        rows = np.arange(start, start + 16) % count
        outputs = {"image": image[rows], "text": text[rows], "scale": np.ones(16)}
        targets = jnp.asarray(np.stack([rows, texts[rows]], axis=1), jnp.int32)
        weight = jnp.asarray(np.arange(start, start + 16) < count, jnp.float32)
        outputs = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), outputs)
        sums = {n: m.update(outputs, targets, weight) for n, m in task.metrics.items() if m.collects}
        total = gather(task.metrics, total, jax.device_get(sums))
    found = results(task, total)
    for name, alike in (("image_to_text", u @ v.T), ("text_to_image", v @ u.T)):
        for k in (1, 5):
            expected = top_k_accuracy_score(np.arange(count), alike, k=k)
            if same:
                right = texts[:, None] == texts[None]
                ranks = [np.sum(~right[i] & (alike[i] >= alike[i][right[i]].max())) for i in range(count)]
                expected = np.mean(np.array(ranks) < k)
            assert found[f"{name}_recall_{k}"] == pytest.approx(expected, abs=1e-6), (name, k)
            assert 0.1 < expected < 1  # so that it could fail


def test_one_place_for_all_finds_nothing():
    outputs = {"image": jnp.ones((4, 3)), "text": jnp.ones((4, 3)), "scale": jnp.ones(4)}
    for name, metric in TASK.metrics.items():
        if name != "temperature" and not name.endswith("_5"):
            assert metric.result(metric.update(outputs, (), jnp.ones(4))) == 0.0, name


def batch():
    """Six images of noise, each with two tokens of its own."""
    draw = np.random.default_rng(1)
    inputs = {"image": draw.normal(size=(6, 4, 4, 1)).astype("f4"), "text": np.arange(1, 13).reshape(6, 2)}
    return jax.tree.map(jnp.asarray, {"inputs": inputs, "weight": np.ones(6, "f4")})


def test_towers_learn_which_belong_together():
    """The figures are those of all pairs at once, though they are measured in batches of four and two."""
    model = two_tower(vocabulary_size=13, embedding=4, channels=(4,), hidden=8, width=8, depth=1)
    optimizer = optim.optimizer(optim.AdamW(lr=3e-2), total_steps=120)
    whole = batch()
    state = init_state(model, TASK, optimizer, key=jax.random.key(0), batch=whole)
    step = jax.jit(make_step(model, TASK, optimizer))
    measure = jax.jit(make_eval_step(model, TASK))

    def figures(params):
        total = None
        for rows, mass in (([0, 1, 2, 3], [1, 1, 1, 1]), ([4, 5, 0, 0], [1, 1, 0, 0])):
            part = jax.tree.map(lambda leaf, rows=rows: leaf[np.asarray(rows)], whole)
            part["weight"] = jnp.asarray(mass, jnp.float32)
            total = gather(TASK.metrics, total, jax.device_get(measure(params, state.state, part)["metrics"]))
        return results(TASK, total)

    outputs, _ = model.apply(state.params, state.state, whole["inputs"])
    u, v = (np.asarray(TASK.predict(outputs)[f"{name}_embedding"]) for name in ("image", "text"))
    before = figures(state.params)
    assert before["image_to_text_recall_1"] == pytest.approx(((u @ v.T).argmax(axis=1) == np.arange(6)).mean())
    assert before["text_to_image_recall_1"] == pytest.approx(((v @ u.T).argmax(axis=1) == np.arange(6)).mean())
    scale = float(state.params["scale"])
    for _ in range(120):
        state, sums = step(state, whole)
    assert set(sums["metrics"]) >= {"loss", "grad_norm"} and "image_to_text_recall_1" not in sums["metrics"]
    after = figures(state.params)
    assert after["image_to_text_recall_1"] == after["text_to_image_recall_1"] == 1.0
    assert after["loss"] < 0.1 < before["loss"]
    assert float(state.params["scale"]) != scale


def test_a_batch_in_parts_is_refused():
    model, optimizer = two_tower(vocabulary_size=13), optim.optimizer(optim.AdamW(), total_steps=1)
    for parts in ({"accumulate": 2}, {"axis": "data"}):
        with pytest.raises(ValueError, match="of a whole batch; leave accumulate at 1 and axis at None"):
            make_step(model, TASK, optimizer, **parts)
