"""The pieces: convolution with its own gradients, batch norm, attention, positions; and modules of a user's own."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from jaxnets import from_linen, from_nnx
from jaxnets.models import gpt
from jaxnets.models.attention import Attention, attend, rotary
from jaxnets.models.layers import BatchNorm, Dropout, DropPath, conv, drop_path_rates, transfer
from jaxnets.models.vit import sincos2d

NHWC = ("NHWC", "HWIO", "NHWC")


@pytest.mark.parametrize("padding", ["SAME", "VALID", ((2, 1), (0, 3))])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_conv_and_its_gradients_are_the_stock_ones(kernel, stride, padding):
    draw = np.random.default_rng(0)
    x = jnp.asarray(draw.normal(size=(2, 9, 8, 3)), jnp.float32)
    w = jnp.asarray(draw.normal(size=(kernel, kernel, 3, 4)), jnp.float32)

    def value(convolution):
        def loss(x, w):
            return jnp.sin(convolution(x, w, (stride, stride), padding, dimension_numbers=NHWC)).sum()

        return jax.value_and_grad(loss, argnums=(0, 1))(x, w)

    ours, stock = value(conv), value(lax.conv_general_dilated)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(stock), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)  # sums of up to 100 float32 products in another order


def test_grouped_and_dilated_convolutions_work_too():
    x, w = jnp.ones((1, 6, 6, 4)), jnp.ones((3, 3, 1, 4))
    grouped = conv(x, w, (1, 1), "SAME", dimension_numbers=NHWC, feature_group_count=4)
    np.testing.assert_array_equal(
        grouped, lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=NHWC, feature_group_count=4)
    )
    gradient = jax.grad(lambda w: conv(x, w, (1, 1), "SAME", rhs_dilation=(2, 2), dimension_numbers=NHWC).sum())
    assert gradient(jnp.ones((3, 3, 4, 2))).shape == (3, 3, 4, 2)


def test_conv_in_flax_takes_it():
    module = nn.Conv(4, (3, 3), conv_general_dilated=conv)
    stock = nn.Conv(4, (3, 3))
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    variables = module.init(jax.random.key(1), x)
    np.testing.assert_allclose(module.apply(variables, x), stock.apply(variables, x), rtol=1e-5, atol=1e-5)


def test_batch_norm_is_flaxs():
    x = jax.random.normal(jax.random.key(0), (16, 5)) * 3 + 1
    ours, theirs = BatchNorm(momentum=0.9), nn.BatchNorm(momentum=0.9, use_running_average=False)
    a, b = ours.init(jax.random.key(0), x, train=True), theirs.init(jax.random.key(0), x)
    one, moved = ours.apply(a, x, train=True, mutable=["batch_stats"])
    two, stats = theirs.apply(b, x, mutable=["batch_stats"])
    np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5)
    for name in ("mean", "var"):
        np.testing.assert_allclose(moved["batch_stats"]["norm"][name], stats["batch_stats"][name], rtol=1e-5, atol=1e-6)


def test_dropout_keeps_the_mean_and_does_nothing_in_evaluation():
    x = jnp.ones((100, 1000))
    module = Dropout(0.3)
    found = module.apply({}, x, train=True, rngs={"dropout": jax.random.key(0)})
    np.testing.assert_allclose(np.unique(found), [0, 1 / 0.7], rtol=1e-6)
    assert abs(float(found.mean()) - 1) < 0.01  # 4.8 standard deviations over 100 000 draws
    np.testing.assert_array_equal(module.apply({}, x, train=False), x)


def test_drop_path_drops_whole_examples_and_keeps_the_mean():
    x = jnp.ones((10_000, 3, 2))
    found = DropPath(0.3).apply({}, x, train=True, rngs={"dropout": jax.random.key(0)})
    assert np.ptp(found, axis=(1, 2)).max() == 0
    np.testing.assert_allclose(np.unique(found), [0, 1 / 0.7], rtol=1e-6)
    assert abs(float(found.mean()) - 1) < 0.033  # 5 standard deviations over 10 000 draws
    np.testing.assert_array_equal(DropPath(0.3).apply({}, x, train=False), x)
    assert drop_path_rates(None, 3) is None


def test_transfer_functions_by_name_and_as_functions():
    assert transfer(jnp.sin) is jnp.sin
    np.testing.assert_allclose(transfer("silu")(jnp.float32(2.0)), 2 / (1 + np.exp(-2)), rtol=1e-6)
    with pytest.raises(ValueError, match="use one of sigmoid"):
        transfer("swoosh")


# ---------------------------------------------------------------- attention


def test_attention_is_the_textbooks():
    q, k, v = (jax.random.normal(jax.random.key(i), (2, 5, n, 4)) for i, n in enumerate((4, 2, 2)))
    mask = np.tril(np.ones((5, 5), bool))
    found = attend(q, k, v, mask=jnp.asarray(mask))
    for b in range(2):
        for head in range(4):
            group = head // 2
            scores = np.asarray(q[b, :, head]) @ np.asarray(k[b, :, group]).T / 2.0
            scores = np.where(mask, scores, -np.inf)
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            weights /= weights.sum(axis=1, keepdims=True)
            np.testing.assert_allclose(found[b, :, head], weights @ np.asarray(v[b, :, group]), rtol=2e-5, atol=2e-5)


def test_the_fused_projection_gives_queries_key_and_value_of_one_group_after_the_other():
    module = Attention(heads=4, kv_heads=2, causal=False, rotary=False, bias=False)
    x = jax.random.normal(jax.random.key(0), (1, 5, 16))
    params = module.init(jax.random.key(1), x)
    kernels = np.asarray(params["params"]["qkv"]["kernel"]).reshape(16, 2, 4, 4)  # d, group, q q k v, k
    parts, rows = [], np.asarray(x[0])
    for group in range(2):
        first, second, key, value = (rows @ kernels[:, group, part] for part in range(4))
        for query in (first, second):
            weights = np.exp(query @ key.T / 2.0)
            parts.append(weights / weights.sum(axis=1, keepdims=True) @ value)
    expected = np.concatenate(parts, axis=1) @ np.asarray(params["params"]["out"]["kernel"])
    np.testing.assert_allclose(module.apply(params, x)[0], expected, rtol=1e-4, atol=1e-5)


def test_rotary_depends_on_distances_alone():
    q, k = (jax.random.normal(jax.random.key(i), (1, 3, 1, 8)) for i in (0, 1))

    def products(shift):
        positions = jnp.arange(3) + shift
        return jnp.einsum("btnk,bsnk->bts", rotary(q, positions), rotary(k, positions))

    np.testing.assert_allclose(products(0), products(50), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(rotary(q, jnp.zeros(3, jnp.int32)), q, rtol=1e-6)


@pytest.mark.parametrize("how", [{}, {"kv_heads": 1}, {"positions": "learned"}, {"tied": False}])
def test_a_decoder_never_looks_ahead_and_its_cache_is_the_whole_pass(how):
    model = gpt(11, context=8, width=16, depth=2, heads=4, **how)
    tokens = jax.random.randint(jax.random.key(0), (2, 8), 0, 11)
    params, state = model.init(jax.random.key(1), tokens)
    whole, _ = model.apply(params, state, tokens)
    changed, _ = model.apply(params, state, tokens.at[:, 5].add(1) % 11)
    np.testing.assert_array_equal(whole[:, :5], changed[:, :5])
    assert not np.allclose(whole[:, 5:], changed[:, 5:])
    cache = {**state, **model.cache(2, 8)}
    step = jax.jit(model.apply)
    first, cache = step(params, cache, tokens[:, :3])  # a prompt at once, then token by token
    parts = [first]
    for place in range(3, 8):
        logits, cache = step(params, cache, tokens[:, place : place + 1])
        parts.append(logits)
    np.testing.assert_allclose(jnp.concatenate(parts, axis=1), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("how", "words"),
    [({"heads": 3}, "must divide"), ({"kv_heads": 3}, "must divide"), ({"heads": 16}, "even width a head")],
)
def test_widths_that_do_not_divide_are_refused(how, words):
    with pytest.raises(ValueError, match=words):
        gpt(11, width=16, **({"heads": 4} | how))


# ---------------------------------------------------------------- modules of a user's own


def test_from_linen_moves_state_only_when_training():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, is_training):
            return nn.Dense(2)(nn.BatchNorm(use_running_average=not is_training)(x))

    model = from_linen(Net(), train="is_training")
    x = jax.random.normal(jax.random.key(0), (8, 3)) + 2
    params, state = model.init(jax.random.key(1), x)
    _, same = model.apply(params, state, x)
    _, moved = model.apply(params, state, x, train=True)
    np.testing.assert_array_equal(same["batch_stats"]["BatchNorm_0"]["mean"], 0)
    assert float(moved["batch_stats"]["BatchNorm_0"]["mean"].min()) > 0
    outputs, seen = model.features(params, state, x)
    assert set(seen) == {"BatchNorm_0", "Dense_0"} and np.array_equal(seen["Dense_0"], outputs)


def test_from_nnx_is_the_module_itself():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.first, self.norm = nnx.Linear(3, 4, rngs=rngs), nnx.BatchNorm(4, rngs=rngs)
            self.drop, self.last = nnx.Dropout(0.5, rngs=rngs), nnx.Linear(4, 2, rngs=rngs)

        def __call__(self, x):
            return self.last(self.drop(self.norm(self.first(x))))

    model = from_nnx(Net)
    x = jax.random.normal(jax.random.key(0), (8, 3))
    params, state = model.init(jax.random.key(1), x)
    outputs, same = model.apply(params, state, x)
    own = Net(nnx.Rngs(params=jax.random.key(1), dropout=0))
    own.eval()
    np.testing.assert_allclose(outputs, own(x), rtol=1e-6)
    trained, moved = jax.jit(lambda p, s, x, k: model.apply(p, s, x, train=True, key=k))(
        params, state, x, jax.random.key(2)
    )
    other, _ = model.apply(params, state, x, train=True, key=jax.random.key(3))
    assert not np.allclose(trained, other)  # the key reaches dropout
    assert any(not np.array_equal(moved[name], state[name]) for name in state)
    gradients = jax.grad(lambda p: model.apply(p, state, x, train=True, key=jax.random.key(2))[0].sum())(params)
    assert set(gradients) == set(params) and all(np.isfinite(leaf).all() for leaf in gradients.values())


def test_sine_cosine_positions_are_those_of_a_loop_over_places():
    height, width, channels = 3, 5, 16
    expected = np.zeros((height * width, channels))
    for y in range(height):
        for x in range(width):
            for i in range(4):
                omega = 10000 ** (-i / 3)
                row = expected[y * width + x]
                row[[i, 4 + i, 8 + i, 12 + i]] = (
                    np.sin(x * omega),
                    np.cos(x * omega),
                    np.sin(y * omega),
                    np.cos(y * omega),
                )
    np.testing.assert_allclose(sincos2d(height, width, channels), expected, atol=1e-6)


@pytest.mark.parametrize("tied", [True, False])
def test_rows_that_fill_up_the_vocabulary_change_nothing_and_get_no_gradient(tied):
    how = {"context": 8, "width": 8, "depth": 1, "heads": 2, "tied": tied}
    plain, padded = gpt(11, **how), gpt(11, vocabulary_multiple=8, **how)
    tokens = jnp.arange(16).reshape(2, 8) % 11
    params, state = padded.init(jax.random.key(0), tokens)
    assert params["embed"]["embedding"].shape == (16, 8)
    cut = jax.tree.map(lambda leaf: leaf, params)
    cut["embed"]["embedding"] = params["embed"]["embedding"][:11]
    if not tied:
        cut["head"]["kernel"] = params["head"]["kernel"][:, :11]
    np.testing.assert_allclose(padded.apply(params, state, tokens)[0], plain.apply(cut, state, tokens)[0], atol=1e-6)
    gradient = jax.grad(lambda params: jnp.square(padded.apply(params, state, tokens)[0]).sum())(params)
    assert not np.asarray(gradient["embed"]["embedding"][11:]).any()
    assert np.asarray(gradient["embed"]["embedding"][:11]).any()
