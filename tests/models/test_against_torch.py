"""The same weights in the models of transformers give the same numbers; skips where torch is not installed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.models import gpt, resnet18, resnet50, vit

torch = pytest.importorskip("torch", reason="torch is not installed: a reference for numbers, no dependency")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")


def flat(tree):
    return {
        jax.tree_util.keystr(p, simple=True, separator="/"): v for p, v in jax.tree_util.tree_leaves_with_path(tree)
    }


def filled(tree, found):
    """`tree` with every leaf replaced by the array of its path; a leaf without one is an error."""
    paths = flat(tree)
    assert set(paths) == set(found)
    assert all(paths[path].shape == found[path].shape for path in paths)
    return jax.tree_util.tree_map_with_path(
        lambda path, _: jnp.asarray(found[jax.tree_util.keystr(path, simple=True, separator="/")]), tree
    )


def randomised(module, seed=0):
    """Every weight and running statistic drawn anew, so that none is 0 or 1 by its initialisation."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if not value.dtype.is_floating_point or "inv_freq" in name or "masked_bias" in name:
                continue
            draw = torch.randn(value.shape, generator=generator)
            if name.endswith("running_var") or (value.ndim == 1 and name.endswith("weight")):
                value.copy_(1 + 0.2 * draw.abs())
            else:
                fan = np.prod(value.shape[1:]) if value.ndim > 1 else 100.0
                value.copy_(draw / max(float(fan), 1.0) ** 0.5)
    return {name: value.detach().numpy() for name, value in module.state_dict().items()}


def linear(weights, name):
    return {"kernel": weights[f"{name}.weight"].T, "bias": weights[f"{name}.bias"]}


def head_by_head(parts, heads=4):
    """Queries, keys and values (…, d) as our fused projection gives them: all three of a head side by side."""
    split = [part.reshape(*part.shape[:-1], heads, -1) for part in parts]
    return np.stack(split, axis=-2).reshape(*parts[0].shape[:-1], -1)


def nested(prefix, values):
    return {f"{prefix}/{name}": value for name, value in values.items()}


# ---------------------------------------------------------------- residual networks


def resnet_weights(weights, depths, convolutions):
    """Its names end in convolution and normalization; the blocks of a stage but the first are stacked."""
    stage = "resnet.encoder.stages"

    def pair(ours, theirs, name):
        """A convolution and the norm after it: (params, statistics)."""
        conv, norm = ours, theirs
        params = {
            f"{conv}/conv/kernel": weights[f"{name}.convolution.weight"].transpose(2, 3, 1, 0),
            f"{norm}/norm/scale": weights[f"{name}.normalization.weight"],
            f"{norm}/norm/bias": weights[f"{name}.normalization.bias"],
        }
        state = {
            f"{norm}/norm/mean": weights[f"{name}.normalization.running_mean"],
            f"{norm}/norm/var": weights[f"{name}.normalization.running_var"],
        }
        return params, state

    def block(name):
        pairs = [pair(f"conv{i}", f"norm{i}", f"{name}.layer.{i}") for i in range(convolutions)]
        if f"{name}.shortcut.convolution.weight" in weights:
            pairs.append(pair("shortcut", "shortcut_norm", f"{name}.shortcut"))
        return tuple({key: value for one in pairs for key, value in one[part].items()} for part in (0, 1))

    trees = [dict(tree) for tree in pair("stem", "stem_norm", "resnet.embedder.embedder")]
    for number, depth in enumerate(depths):
        first, *rest = [block(f"{stage}.{number}.layers.{index}") for index in range(depth)]
        for part in (0, 1):
            trees[part] |= nested(f"stage{number}_first", first[part])
            stack = {key: np.stack([one[part][key] for one in rest]) for key in rest[0][part]}
            trees[part] |= nested(f"stage{number}/blocks/layer", stack)
    return trees[0] | nested("head", linear(weights, "classifier.1")), nested("batch_stats", trees[1])


@pytest.mark.parametrize(
    ("ours", "kind", "depths", "sizes"),
    [
        (resnet18, "basic", (2, 2, 2, 2), (64, 128, 256, 512)),
        (resnet50, "bottleneck", (3, 4, 6, 3), (256, 512, 1024, 2048)),
    ],
)
def test_residual_networks_and_their_gradients(ours, kind, depths, sizes):
    """In float64: in float32 a pre-activation near 0 falls on either side of a ReLU, and gradients jump."""
    config = transformers.ResNetConfig(layer_type=kind, depths=list(depths), hidden_sizes=list(sizes), num_labels=10)
    reference = transformers.ResNetForImageClassification(config).double()
    weights = randomised(reference)
    stem = reference.resnet.embedder.embedder.convolution.weight
    draw = np.random.default_rng(0)
    images, direction = draw.normal(size=(4, 64, 64, 3)), draw.normal(size=(4, 10))
    with jax.enable_x64(True):
        model = ours(10, stem="imagenet", dtype="float64")
        shapes = jax.eval_shape(model.init, jax.random.key(0), images)
        found = resnet_weights(weights, depths, 2 if kind == "basic" else 3)
        params, state = (filled(*one) for one in zip(shapes, found, strict=True))
        for train in (False, True):
            reference.train(train)
            reference.zero_grad()
            pixels = torch.tensor(images.transpose(0, 3, 1, 2), requires_grad=True)
            expected = reference(pixels).logits
            (expected * torch.tensor(direction)).sum().backward()

            def product(params, x, train=train):
                outputs, _ = model.apply(params, state, x, train=train)
                return (outputs * direction).sum(), outputs

            (gradients, to_pixels), outputs = jax.grad(product, argnums=(0, 1), has_aux=True)(
                params, jnp.asarray(images)
            )
            same(outputs, expected.detach().numpy())
            same(to_pixels, pixels.grad.numpy().transpose(0, 2, 3, 1))
            same(gradients["stem"]["conv"]["kernel"], stem.grad.numpy().transpose(2, 3, 1, 0))


def same(found, expected):
    """Equal up to the head's float32, in which logits and what flows back from them are rounded."""
    assert np.linalg.norm(np.asarray(found) - expected) <= 1e-6 * np.linalg.norm(expected)


# ---------------------------------------------------------------- transformers


def stacked(blocks):
    return nested("blocks/blocks/layer", {key: np.stack([block[key] for block in blocks]) for key in blocks[0]})


def norm_of(weights, name):
    return {"scale": weights[f"{name}.weight"], "bias": weights[f"{name}.bias"]}


def test_vision_transformer():
    config = transformers.ViTConfig(
        hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=96, hidden_act="gelu_new",
        layer_norm_eps=1e-6, image_size=32, patch_size=8, num_labels=10,
    )  # fmt: skip
    reference = transformers.ViTForImageClassification(config).eval()
    weights = randomised(reference)
    names = sorted(weights)
    start = next(name for name in names if name.endswith("query.weight") or name.endswith("q_proj.weight"))
    layer = start[: start.index(".0.")]
    inside = [name.split(".0.", 1)[1] for name in names if name.startswith(f"{layer}.0.")]

    def find(number, *words):
        kind = next(n for n in inside if n.endswith("weight") and all(word in n for word in words))
        return f"{layer}.{number}.{kind.removesuffix('.weight')}"

    def block(number):
        q, k, v = (
            linear(weights, find(number, word))
            for word in (("query", "key", "value") if "query" in start else ("q_proj", "k_proj", "v_proj"))
        )
        out, into, outof = (
            find(number, "attention", "output") if "query" in start else find(number, "o_proj"),
            find(number, "intermediate") if "query" in start else find(number, "fc1"),
            f"{layer}.{number}.output.dense" if "query" in start else find(number, "fc2"),
        )
        return {
            **nested("attention/qkv", {leaf: head_by_head([q[leaf], k[leaf], v[leaf]]) for leaf in ("kernel", "bias")}),
            **nested("attention/out", linear(weights, out)),
            **nested("attention_norm", norm_of(weights, find(number, "layernorm_before"))),
            **nested("mlp_norm", norm_of(weights, find(number, "layernorm_after"))),
            **nested("mlp/in", linear(weights, into)),
            **nested("mlp/out", linear(weights, outof)),
        }

    embeddings = "vit.embeddings"
    found = {
        "token": weights[f"{embeddings}.cls_token"],
        "positions": weights[f"{embeddings}.position_embeddings"],
        # A convolution with stride = kernel is a dense layer on patches read row by row.
        "patches/kernel": weights[f"{embeddings}.patch_embeddings.projection.weight"]
        .transpose(2, 3, 1, 0)
        .reshape(-1, 48),
        "patches/bias": weights[f"{embeddings}.patch_embeddings.projection.bias"],
        **stacked([block(number) for number in range(3)]),
        **nested("norm", norm_of(weights, "vit.layernorm")),
        **nested("head", linear(weights, "classifier")),
    }
    model = vit(10, patch=8, width=48, depth=3, heads=4, mlp_width=96)
    images = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype(np.float32)
    params = filled(jax.eval_shape(model.init, jax.random.key(0), images)[0], found)
    with torch.no_grad():
        expected = reference(torch.tensor(images.transpose(0, 3, 1, 2))).logits.numpy()
    np.testing.assert_allclose(model.apply(params, {}, jnp.asarray(images))[0], expected, rtol=1e-4, atol=2e-5)


def test_gpt2():
    config = transformers.GPT2Config(
        vocab_size=23, n_positions=16, n_embd=32, n_layer=3, n_head=4, layer_norm_epsilon=1e-6,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    reference = transformers.GPT2LMHeadModel(config).eval()
    weights = randomised(reference)

    def block(number):
        name = f"transformer.h.{number}"
        pairs = {
            "attention/qkv": "attn.c_attn",
            "attention/out": "attn.c_proj",
            "mlp/in": "mlp.c_fc",
            "mlp/out": "mlp.c_proj",
        }
        found = {}
        for ours, theirs in pairs.items():  # its Conv1D keeps kernels as we do, inputs first
            found[f"{ours}/kernel"] = weights[f"{name}.{theirs}.weight"]
            found[f"{ours}/bias"] = weights[f"{name}.{theirs}.bias"]
        for leaf in ("kernel", "bias"):
            path = f"attention/qkv/{leaf}"
            found[path] = head_by_head(np.split(found[path], 3, axis=-1))
        found |= nested("attention_norm", norm_of(weights, f"{name}.ln_1"))
        return found | nested("mlp_norm", norm_of(weights, f"{name}.ln_2"))

    found = {
        "embed/embedding": weights["transformer.wte.weight"],
        "positions": weights["transformer.wpe.weight"],
        **stacked([block(number) for number in range(3)]),
        **nested("norm", norm_of(weights, "transformer.ln_f")),
    }
    model = gpt(23, context=16, width=32, depth=3, heads=4, positions="learned")
    agree(model, found, reference, vocabulary_size=23)


def test_rotary_positions_and_a_free_head():
    config = transformers.GPTNeoXConfig(
        vocab_size=23, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64,
        hidden_act="gelu_new", layer_norm_eps=1e-6, max_position_embeddings=16, use_parallel_residual=False,
        tie_word_embeddings=False, rotary_pct=1.0,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0},
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    reference = transformers.GPTNeoXForCausalLM(config).eval()
    weights = randomised(reference)

    def block(number):
        name = f"gpt_neox.layers.{number}"
        return {
            **nested("attention/qkv", linear(weights, f"{name}.attention.query_key_value")),  # head by head, as ours
            **nested("attention/out", linear(weights, f"{name}.attention.dense")),
            **nested("mlp/in", linear(weights, f"{name}.mlp.dense_h_to_4h")),
            **nested("mlp/out", linear(weights, f"{name}.mlp.dense_4h_to_h")),
            **nested("attention_norm", norm_of(weights, f"{name}.input_layernorm")),
            **nested("mlp_norm", norm_of(weights, f"{name}.post_attention_layernorm")),
        }

    head = next(name for name in ("embed_out.weight", "lm_head.weight") if name in weights)
    found = {
        "embed/embedding": weights["gpt_neox.embed_in.weight"],
        "head/kernel": weights[head].T,
        **stacked([block(number) for number in range(3)]),
        **nested("norm", norm_of(weights, "gpt_neox.final_layer_norm")),
    }
    model = gpt(23, context=16, width=32, depth=3, heads=4, mlp_width=64, positions="rotary", tied=False)
    agree(model, found, reference, vocabulary_size=23)


def agree(model, found, reference, *, vocabulary_size):
    tokens = np.random.default_rng(0).integers(0, vocabulary_size, (2, 16)).astype(np.int32)
    params = filled(jax.eval_shape(model.init, jax.random.key(0), tokens)[0], found)
    with torch.no_grad():
        expected = reference(torch.tensor(tokens.astype(np.int64))).logits.numpy()
    outputs, _ = model.apply(params, {}, jnp.asarray(tokens))
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=2e-5)
