"""Pairs of images and texts: the loss in closed form, padding that is no wrong answer, and towers that learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

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


def batch():
    """Six images of noise, each with two tokens of its own."""
    draw = np.random.default_rng(1)
    inputs = {"image": draw.normal(size=(6, 4, 4, 1)).astype("f4"), "text": np.arange(1, 13).reshape(6, 2)}
    return jax.tree.map(jnp.asarray, {"inputs": inputs, "weight": np.ones(6, "f4")})


def test_towers_learn_which_belong_together():
    """The figures are those of all pairs at once, though they are measured in batches of four and two."""
    model = two_tower(4, vocabulary_size=13, channels=(4,), width=8)
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
    assert before["image_to_text"] == pytest.approx(((u @ v.T).argmax(axis=1) == np.arange(6)).mean())
    assert before["text_to_image"] == pytest.approx(((v @ u.T).argmax(axis=1) == np.arange(6)).mean())
    scale = float(state.params["scale"])
    for _ in range(120):
        state, sums = step(state, whole)
    assert set(sums["metrics"]) >= {"loss", "grad_norm"} and "image_to_text" not in sums["metrics"]
    after = figures(state.params)
    assert after["image_to_text"] == after["text_to_image"] == 1.0 and after["loss"] < 0.1 < before["loss"]
    assert float(state.params["scale"]) != scale


def test_a_batch_in_parts_is_refused():
    model, optimizer = two_tower(4, vocabulary_size=13), optim.optimizer(optim.AdamW(), total_steps=1)
    for parts in ({"accumulate": 2}, {"axis": "data"}):
        with pytest.raises(ValueError, match="of a whole batch; leave accumulate at 1 and axis at None"):
            make_step(model, TASK, optimizer, **parts)
