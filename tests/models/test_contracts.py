"""One suite over all models: what `Model` promises, each keeps."""

import inspect
import re
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import models
from jaxnets.models import (
    audio_resnet,
    autoencoder,
    cnn,
    ft_transformer,
    gpt,
    mlp,
    patchtst,
    r2plus1d,
    resnet9,
    resnet18,
    resnet34,
    resnet50,
    tabular_mlp,
    text_encoder,
    tsmixer,
    two_tower,
    unet,
    vit,
    vit_b16,
    waveform_resnet,
)
from jaxnets.models.layers import DropPath

IMAGE = (4, 8, 8, 3)


def told_again(model):
    """An autoencoder whose outputs are reconstructions alone."""

    def apply(*given, **how):
        outputs, state = model.apply(*given, **how)
        return outputs["reconstruction"], state

    def features(*given, **how):
        outputs, views = model.features(*given, **how)
        return outputs["reconstruction"], views

    return model._replace(apply=apply, features=features)


def of_one_array(model):
    """Two towers whose texts are made of a row of pixels, and whose outputs are the sum of both embeddings."""

    def pairs(images):
        return {"image": images, "text": (4 * jnp.abs(images[:, 0, :, 0])).astype(jnp.int32) % 11}

    def init(key, images):
        return model.init(key, jax.eval_shape(pairs, images))

    def apply(params, state, images, **how):
        outputs, state = model.apply(params, state, pairs(images), **how)
        return outputs["image"] + outputs["text"], state

    def features(params, state, images, **how):
        outputs, views = model.features(params, state, pairs(images), **how)
        return outputs["image"] + outputs["text"], views

    return model._replace(init=init, apply=apply, features=features)


TINY = {
    "mlp": (lambda **k: mlp(5, widths=(8,), **k), IMAGE),
    "cnn": (lambda **k: cnn(5, channels=(4, 4), hidden=8, **k), IMAGE),
    "resnet9": (lambda **k: resnet9(5, width=4, **k), IMAGE),
    "vit": (lambda **k: vit(5, patch=4, width=8, depth=3, heads=2, mlp_width=16, **k), IMAGE),
    "vit_mean": (
        lambda **k: vit(
            5, patch=4, width=8, depth=3, heads=2, mlp_width=16, pool="mean", positions="sincos2d", head_width=6, **k
        ),
        IMAGE,
    ),
    "gpt": (lambda **k: gpt(11, context=8, width=8, depth=3, heads=2, **k), (4, 8)),
    "tabular_mlp": (lambda **k: tabular_mlp(5, widths=(8,), cell_width=4, members=3, **k), (4, 6)),
    "ft_transformer": (lambda **k: ft_transformer(5, width=8, depth=3, heads=2, mlp_width=16, sigma=0.1, **k), (4, 6)),
    "audio_resnet": (lambda **k: audio_resnet(5, width=4, depths=(1, 1), **k), (4, 12, 9)),
    "waveform_resnet": (lambda **k: waveform_resnet(5, width=4, depths=(1, 1), **k), (4, 300)),
    "text_encoder": (
        lambda **k: text_encoder(5, vocabulary_size=11, width=8, depth=3, heads=2, ngrams=2, buckets=7, **k),
        (4, 8),
    ),
    "unet": (lambda **k: unet(5, width=4, depth=1, **k), IMAGE),
    "autoencoder": (lambda **k: told_again(autoencoder(5, embedding=3, widths=(8,), **k)), IMAGE),
    "patchtst": (lambda **k: patchtst(5, patch=4, stride=2, width=8, depth=3, heads=2, mlp_width=16, **k), (4, 8, 3)),
    "two_tower": (
        lambda **k: of_one_array(
            two_tower(vocabulary_size=11, embedding=5, channels=(4,), hidden=8, width=8, depth=3, heads=2, **k)
        ),
        IMAGE,
    ),
    "tsmixer": (lambda **k: tsmixer(5, width=8, depth=3, mlp_width=16, **k), (4, 8, 3)),
}
DEEP = {  # what takes long, and what they have that the others lack: bottlenecks, stacks of several blocks
    "resnet18": (lambda **k: resnet18(5, **k), IMAGE),
    "resnet34": (lambda **k: resnet34(5, **k), IMAGE),
    "resnet50": (lambda **k: resnet50(5, stem="small", **k), IMAGE),
    "r2plus1d": (lambda **k: r2plus1d(5, width=4, depths=(2, 2), stem="small", **k), (4, 3, 6, 6, 3)),
}
OUTPUTS = {"gpt": (4, 8, 11), "unet": (4, 8, 8, 5), "patchtst": (4, 5, 3), "tsmixer": (4, 5, 3)}  # not (4, 5)
MODELS = TINY | DEEP
RESNET18 = pytest.param("resnet18", marks=pytest.mark.slow)  # where resnet9 and the others tell enough every day
ALL = [*TINY, *(pytest.param(name, marks=pytest.mark.slow) for name in DEEP)]
FACTORIES = {
    models.MLP: mlp,
    models.CNN: cnn,
    models.ResNet9: resnet9,
    models.ResNet18: resnet18,
    models.ResNet34: resnet34,
    models.ResNet50: resnet50,
    models.ViT: vit,
    models.GPT: gpt,
    models.TabularMLP: tabular_mlp,
    models.FTTransformer: ft_transformer,
    models.AudioResNet: audio_resnet,
    models.WaveformResNet: waveform_resnet,
    models.TextEncoder: text_encoder,
    models.UNet: unet,
    models.Autoencoder: autoencoder,
    models.PatchTST: patchtst,
    models.TSMixer: tsmixer,
    models.R2Plus1D: r2plus1d,
    models.TwoTower: two_tower,
}


def case(name, **how):
    make, shape = MODELS[name]
    draw = np.random.default_rng(0)
    tokens = name in ("gpt", "text_encoder")
    inputs = jnp.asarray(
        draw.integers(0, 11, shape) if tokens else draw.normal(size=shape), "int32" if tokens else "float32"
    )
    model = make(**how)
    params, state = jax.jit(model.init)(jax.random.key(0), inputs)
    return model, params, state, inputs


@pytest.fixture(scope="module", params=ALL)
def built(request):
    return request.param, *case(request.param)


def test_shapes_jit_and_state(built):
    name, model, params, state, inputs = built
    eager, same = model.apply(params, state, inputs)
    jitted, _ = jax.jit(model.apply)(params, state, inputs)
    assert eager.shape == OUTPUTS.get(name, (4, 5)) and eager.dtype == jnp.float32
    np.testing.assert_allclose(eager, jitted, rtol=2e-5, atol=2e-5)  # fusion reorders float32 sums
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(same), strict=True):
        np.testing.assert_array_equal(a, b)


def test_gradients_are_finite_and_a_scan_of_steps_is_bare_steps(built):
    _, model, params, state, inputs = built

    def loss(params):
        return jnp.square(model.apply(params, state, inputs, train=True, key=jax.random.key(1))[0]).mean()

    def step(params, _):
        return jax.tree.map(lambda p, g: p - 0.01 * g, params, jax.grad(loss)(params)), None

    bare = jax.jit(step)
    expected = bare(bare(params, None)[0], None)[0]
    found, _ = jax.jit(lambda params: jax.lax.scan(step, params, None, length=2))(params)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_examples_do_not_see_each_other_in_evaluation(built):
    _, model, params, state, inputs = built
    order = jnp.asarray([2, 0, 3, 1])
    apply = jax.jit(lambda inputs: model.apply(params, state, inputs)[0])
    np.testing.assert_allclose(apply(inputs)[order], apply(inputs[order]), rtol=1e-5, atol=1e-5)


def test_features_are_named_and_taps_are_added(built):
    _, model, params, state, inputs = built
    outputs, seen = model.features(params, state, inputs)
    np.testing.assert_allclose(outputs, model.apply(params, state, inputs)[0], rtol=1e-4, atol=1e-4)
    names = r"blocks\.1$|stage0_first$|^conv0$|dense0$|layer1$|stage0_block0$|^down0$"
    path = next(path for path in seen if re.search(names, path))
    same, _ = model.features(params, state, inputs, taps={path: jnp.zeros_like(seen[path])})
    np.testing.assert_array_equal(same, outputs)
    other, _ = model.features(
        params, state, inputs, taps={path: jax.random.normal(jax.random.key(5), seen[path].shape)}
    )
    assert not np.allclose(other, outputs)
    with pytest.raises(ValueError, match="no such view"):
        model.features(params, state, inputs, taps={"nowhere": jnp.zeros(())})


@pytest.mark.parametrize("name", ALL)
def test_bfloat16_computes_low_and_keeps_params_high(name):
    model, params, state, inputs = case(name, dtype="bfloat16")
    outputs, _ = model.apply(params, state, inputs)
    full = case(name)[0].apply(params, state, inputs)[0]
    assert outputs.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves((params, state))} == {jnp.dtype("float32")}
    scale = float(jnp.abs(full).max())
    assert 0 < float(jnp.abs(outputs - full).max()) < 0.1 * scale  # 8 bits of mantissa, a few layers


@pytest.mark.parametrize("name", ["vit", "gpt", "ft_transformer", "patchtst", "tsmixer", "two_tower", RESNET18])
def test_unrolled_is_scanned(name):
    model, params, state, inputs = case(name)
    unrolled = MODELS[name][0](unroll=True)
    for train in (False, True):
        a, moved = model.apply(params, state, inputs, train=train)
        b, also = unrolled.apply(params, state, inputs, train=train)
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
        for one, other in zip(jax.tree.leaves(moved), jax.tree.leaves(also), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "model, expected",
    [
        (lambda: resnet50(1000), 25_557_032),
        (lambda: vit_b16(1000), 86_567_656),
        (lambda: resnet18(1000, stem="imagenet"), 11_689_512),
        (lambda: resnet34(1000, stem="imagenet"), 21_797_672),
    ],
)
def test_written_parameter_counts(model, expected):
    params, _ = jax.eval_shape(model().init, jax.random.key(0), jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected


@pytest.mark.parametrize("config", FACTORIES, ids=lambda config: config.__name__)
def test_a_config_has_the_keywords_of_its_factory(config):
    keywords = {
        n: p.default for n, p in inspect.signature(FACTORIES[config]).parameters.items() if p.kind is p.KEYWORD_ONLY
    }
    of_data = ("unroll", "cardinalities", "separator", "vocabulary_size")
    keywords = {name: default for name, default in keywords.items() if name not in of_data}
    default = config()
    assert keywords == {name: getattr(default, name) for name in config.__dataclass_fields__}


DROPPED = [
    "mlp", "cnn", "vit", "gpt", "tabular_mlp", "ft_transformer", "text_encoder", "patchtst", "tsmixer", "two_tower",
]  # fmt: skip


@pytest.mark.parametrize("name", DROPPED)
def test_dropout_takes_a_traced_rate_and_needs_a_key(name):
    _, params, state, inputs = case(name)

    @jax.jit
    def outputs(rate):
        return MODELS[name][0](dropout=rate).apply(params, state, inputs, train=True, key=jax.random.key(0))[0]

    assert not np.allclose(outputs(0.5), outputs(0.1))
    plain = MODELS[name][0]().apply(params, state, inputs, train=True)[0]
    np.testing.assert_allclose(outputs(0.0), plain, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="pass key"):
        MODELS[name][0](dropout=0.5).apply(params, state, inputs, train=True)


@pytest.mark.parametrize("name", ["resnet9", RESNET18, "vit", "gpt"])
def test_drop_path_takes_a_traced_rate_and_is_nothing_in_evaluation(name):
    _, params, state, inputs = case(name)

    def text(**how):
        made = MODELS[name][0](**how)
        return str(jax.make_jaxpr(lambda p: made.apply(p, state, inputs, train=True, key=jax.random.key(0))[0])(params))

    @partial(jax.jit, static_argnames="train")
    def outputs(rate, train=True):
        model = MODELS[name][0](drop_path=rate)
        return model.apply(params, state, inputs, train=train, key=jax.random.key(0))[0]

    # A new residual branch of a resnet is 0, so that leaving it out shows in the gradient alone.
    if not name.startswith("resnet"):
        assert not np.allclose(outputs(0.9), outputs(0.0))
    np.testing.assert_allclose(outputs(0.0), outputs(None), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(outputs(0.9, train=False), outputs(None, train=False))
    assert "random_bits" not in text(drop_path=None) and "random_bits" in text(drop_path=0.5)
    with pytest.raises(ValueError, match="pass key"):
        MODELS[name][0](drop_path=0.5).apply(params, state, inputs, train=True)


def seen_rates(model, params, state, inputs):
    """The shares of examples that passed by each residual branch, in order: from the calls of an unrolled model."""
    shares = []

    def see(call, arguments, keywords, context):
        outputs = call(*arguments, **keywords)
        if isinstance(context.module, DropPath):
            shares.append((outputs == 0).all(axis=tuple(range(1, outputs.ndim))).mean())
        return outputs

    with nn.intercept_methods(see):
        model.apply(params, state, inputs, train=True, key=jax.random.key(0))
    return jnp.stack(shares)


@pytest.mark.parametrize("name", ["vit", RESNET18])
def test_drop_path_grows_linearly_with_depth(name):
    _, params, state, inputs = case(name)
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)  # no branch is 0 of itself
    many = jnp.concatenate([inputs] * 128)
    model = MODELS[name][0](drop_path=0.5, unroll=True)
    shares = np.asarray(jax.jit(partial(seen_rates, model))(params, state, many))
    if name == "vit":
        shares = shares.reshape(3, 2).mean(axis=1)
    expected = 0.5 * np.arange(1, len(shares) + 1) / len(shares)
    assert len(shares) == (3 if name == "vit" else 8)
    np.testing.assert_allclose(shares, expected, atol=5 * 0.5 / 512**0.5)  # 5 standard deviations


def test_batch_norm_sums_over_the_device_axis():
    model, params, state, inputs = case("resnet9")
    whole, moved = model.apply(params, state, inputs, train=True)
    halves = inputs.reshape(2, 2, *inputs.shape[1:])
    apply = jax.vmap(lambda x: model.apply(params, state, x, train=True, axis="data"), axis_name="data")
    parts, moved_parts = apply(halves)
    np.testing.assert_allclose(parts.reshape(4, -1), whole, rtol=1e-4, atol=1e-4)
    for a, b in zip(jax.tree.leaves(moved), jax.tree.leaves(moved_parts), strict=True):
        np.testing.assert_allclose(a, b[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [RESNET18, "vit", "gpt"])
def test_remat_keeps_params_and_gradients_and_computes_again(name):
    """Equal but for the order of float32 sums, with the same dropped paths; and the layers' products stand twice."""
    model, params, state, inputs = case(name, drop_path=0.5)

    def gradient(remat):
        again = MODELS[name][0](drop_path=0.5, remat=remat)

        def loss(params):
            outputs, _ = again.apply(params, state, inputs, train=True, key=jax.random.key(3))
            return jnp.square(outputs).mean()

        return jax.jit(jax.grad(loss)).lower(params)

    plain = gradient("none")
    expected = plain.compile()(params)
    for remat in ("full", "dots", "dots_no_batch") if name == "gpt" else ("full",):
        lowered = gradient(remat)
        found = lowered.compile()(params)
        assert jax.tree.structure(found) == jax.tree.structure(params)
        for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)
        assert lowered.cost_analysis()["flops"] > plain.cost_analysis()["flops"]


def test_remat_saves_memory():
    def temporary(remat):
        model = gpt(64, context=64, width=64, depth=8, heads=4, remat=remat)
        tokens = jnp.zeros((8, 64), jnp.int32)
        params, _ = jax.eval_shape(model.init, jax.random.key(0), tokens)
        step = jax.jit(jax.grad(lambda params: model.apply(params, {}, tokens, train=True)[0].mean()))
        return step.lower(params).compile().memory_analysis().temp_size_in_bytes

    sizes = {remat: temporary(remat) for remat in ("none", "full", "dots")}
    assert sizes["full"] < sizes["dots"] < sizes["none"] and sizes["full"] < 0.5 * sizes["none"]


def test_a_rematerialised_model_still_has_features():
    model, params, state, inputs = case("vit", remat="full")
    plain, _, _, _ = case("vit")
    _, seen = model.features(params, state, inputs)
    _, expected = plain.features(params, state, inputs)
    assert seen.keys() == expected.keys() and "blocks.0" in seen
