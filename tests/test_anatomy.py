"""Sizes of models: totals against the variables themselves and closed forms, layers against their totals."""

import json
import re

import jax
import pytest

from jaxnets import cli, config, models
from jaxnets.anatomy import anatomy, totals
from jaxnets.catalogue import KNOWN
from jaxnets.models import cnn, gpt, mlp, resnet9, resnet18, resnet50, vit, vit_b16
from jaxnets.types import Model

IMAGE, TOKENS = ((1, 8, 8, 3), "float32"), ((1, 8), "int32")
TINY = {
    "mlp": (mlp(5, widths=(8,)), IMAGE),
    "cnn": (cnn(5, channels=(4, 4), hidden=8), IMAGE),
    "resnet9": (resnet9(5, width=4), IMAGE),
    "resnet18": (resnet18(5), IMAGE),
    "vit": (vit(5, patch=4, width=8, depth=3, heads=2, mlp_width=16), IMAGE),
    "gpt": (gpt(11, context=8, width=8, depth=3, heads=2), TOKENS),
    "gpt_free_head": (gpt(11, context=8, width=8, depth=3, heads=2, tied=False, positions="learned"), TOKENS),
}


@pytest.fixture(params=TINY)
def found(request):
    model, (shape, dtype) = TINY[request.param]
    inputs = jax.ShapeDtypeStruct(shape, dtype)
    return model, inputs, anatomy(model, inputs)


def test_parameters_are_those_of_init_and_each_is_in_one_layer(found):
    model, inputs, parts = found
    params, _ = jax.eval_shape(lambda: model.init(jax.random.key(0), inputs))
    assert parts.parameters == sum(leaf.size for leaf in jax.tree.leaves(params))
    assert sum(layer.parameters for layer in parts.layers) == parts.parameters


def test_flops_of_the_layers_add_up_to_xlas_count_of_the_whole(found):
    model, inputs, parts = found
    params, state = jax.eval_shape(lambda: model.init(jax.random.key(0), inputs))
    lowered = jax.jit(lambda p, s, x: model.features(p, s, x)[0]).lower(params, state, inputs)
    assert parts.flops == lowered.cost_analysis()["flops"]
    assert sum(layer.flops for layer in parts.layers) == pytest.approx(parts.flops, rel=1e-6)


def test_layers_are_named_and_shaped_as_the_views(found):
    model, inputs, parts = found
    params, state = jax.eval_shape(lambda: model.init(jax.random.key(0), inputs))
    outputs, views = jax.eval_shape(model.features, params, state, inputs)
    for layer in parts.layers:
        assert layer.shape == (views[layer.path] if layer.path else outputs).shape[1:]
    assert parts.output == outputs.shape[1:]


def test_counts_of_a_dense_layer_and_of_a_stack():
    parts = anatomy(mlp(3, widths=(8,)), jax.ShapeDtypeStruct((1, 4), "float32"))
    layers = {layer.path: layer for layer in parts.layers}
    assert layers["dense0"].flops == 2 * 4 * 8 + 8 and layers["head"].flops == 2 * 8 * 3 + 3
    assert layers[""].flops == 8  # the ReLU between them
    one, three = (
        anatomy(gpt(11, context=8, width=8, depth=depth, heads=2), jax.ShapeDtypeStruct(*TOKENS)) for depth in (1, 3)
    )
    blocks = [sum(layer.flops for layer in three.layers if layer.path.startswith(f"blocks.{i}")) for i in range(3)]
    assert blocks[0] == blocks[1] == blocks[2] and three.flops == pytest.approx(one.flops + 2 * blocks[0])


@pytest.mark.parametrize(
    ("make", "parameters", "multiply_adds"),
    # Published: torchvision's multiply-adds of ResNet-50 and ViT-B/16
    [(resnet50, 25_557_032, 4.09e9), (vit_b16, 86_567_656, 17.56e9)],
)
def test_published_sizes(make, parameters, multiply_adds):
    size, flops = totals(make(1000), jax.ShapeDtypeStruct((1, 224, 224, 3), "float32"))
    # Norms, activations and attention's products are in one count and not in the other; padding the other way round
    assert size == parameters and flops == pytest.approx(2 * multiply_adds, rel=0.05)


def test_a_model_without_features_is_one_layer():
    plain = mlp(3, widths=(8,))
    parts = anatomy(Model(plain.init, plain.apply), jax.ShapeDtypeStruct((1, 4), "float32"))
    assert [(layer.path, layer.parameters) for layer in parts.layers] == [("", 67)] and parts.parameters == 67


def test_every_variant_has_a_row_and_its_source_is_that_of_its_file():
    kinds = {kind for kind in vars(models).values() if isinstance(kind, type)}
    names = {config.variant_name(kind) for kind in kinds}
    words = {name: name.replace("_", "") for name in KNOWN}  # tabular_mlp is a variant, vit_b16 a size of one
    assert {word if word in names else name.split("_")[0] for name, word in words.items()} == names
    for name in ("cnn", "resnet50", "vit_b16", "gpt"):
        module = __import__(f"jaxnets.models.{name.rstrip('0123456789').split('_')[0]}", fromlist=["_"])
        assert KNOWN[name].source in module.__doc__.replace("(", "").replace(")", "")


def main(capsys, *words):
    code = cli.main([str(word) for word in words])
    out, errors = capsys.readouterr()
    return code, out, errors


def test_the_table_names_every_model(capsys):
    code, out, _ = main(capsys, "models")
    assert code == 0 and all(any(line.startswith(name) for line in out.splitlines()) for name in KNOWN)
    assert "25,557,032" in out and "He et al., 2015" in out
    code, out, _ = main(capsys, "models", "--json")
    assert {row["name"]: row["parameters"] for row in json.loads(out)}["vit_b16"] == 86_567_656


def test_one_model_by_name_at_another_size(capsys):
    code, out, _ = main(capsys, "models", "cnn", "--input", "8,8,1", "--outputs", "10", "--json")
    found = json.loads(out)
    assert code == 0 and found["layers"][0]["shape"] == [8, 8, 32]
    convolutions = (3 * 3 * 1 + 1) * 32 + (3 * 3 * 32 + 1) * 64
    assert found["parameters"] == convolutions + (2 * 2 * 64 + 1) * 256 + (256 + 1) * 10
    code, out, _ = main(capsys, "models", "cnn", "--input", "8,8,1", "--outputs", "10")
    assert code == 0 and re.search(r"^total +10 +87,178 ", out, re.M)


def test_the_model_of_a_config(capsys):
    code, out, _ = main(capsys, "models", "configs/digits_cnn.py", "--model.hidden", "16", "--json")
    found = json.loads(out)
    assert code == 0 and found["input"] == [8, 8, 1] and found["outputs"] == 10
    assert {layer["path"]: layer["shape"] for layer in found["layers"]}["dense"] == [16]
    code, out, _ = main(capsys, "models", "configs/python_text_gpt.py", "--json")
    assert code == 0 and json.loads(out)["input"] == [128]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["resnet5"], "perhaps you meant resnet50"),
        (["resnet50", "--input", "224,224"], "--input 224,224 is not allowed for resnet50"),
        (["resnet50", "--input", "0,224,3"], "give whole numbers of at least 1, as in 224,224,3"),
        (["gpt", "--input", "8,8,1"], "is not allowed for gpt"),
        (["cnn", "--input", "2,2,1"], "does not fit cnn: images of (2, 2) cannot be halved"),
        (["vit_b16", "--input", "30,30,3"], "patch 16 does not divide"),
        (["cnn", "--outputs", "0"], "--outputs 0 is not allowed"),
        (["--outputs", "3"], "name it"),
        (["configs/digits_cnn.py", "--outputs", "3"], "follow from the data of a config"),
        (["configs/digits_cn.py"], "perhaps you meant configs/digits_cnn.py"),
        (["cnn", "--model.hidden", "3"], "is a value of a config"),
    ],
)
def test_mistakes_exit_2(capsys, words, told):
    code, out, errors = main(capsys, "models", *words)
    assert code == 2 and told in errors and not out


def test_an_input_that_is_no_shape(capsys):
    assert cli.main(["models", "cnn", "--input", "big"]) == 2
    assert "'big' is not allowed; give whole numbers" in capsys.readouterr().err
