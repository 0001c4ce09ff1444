"""Collectives of programs compiled for a TPU slice, against their closed form: a tenth more at most, no other kind.

P: bytes of the params in float32; K: those of kernels that fsdp divides; A: bytes of one activation (batch, tokens,
width) in float32; L: layers. A gather moves a kernel in the bfloat16 of the products that need it, or in float32.

    data      one all-reduce of the gradient: P
    fsdp      a gather of each kernel going forward and one going back: at most 2 K;
              the gradient scattered to its owners: at most K; of what does not divide: P - K
    tensor    two sums an attention and MLP going forward and two going back: 4 L A;
              the embedding's rows, and the gradient of what goes into the head: 2 A
"""

import importlib.util

import jax
import pytest

from jaxnets import chips, slices
from jaxnets.admission import admit
from jaxnets.collectives import bytes_by_kind, collectives
from jaxnets.config import Experiment
from jaxnets.data import Data
from jaxnets.loop import Loop
from jaxnets.models import GPT, ResNet9, ViT
from jaxnets.parallel import Plan
from jaxnets.rehearsal import bytes_of, lowered
from jaxnets.tasks import Classification, LanguageModelling

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed: pip install 'jaxnets[tpu]'"
    ),
]
BATCH, CONTEXT, WIDTH, DEPTH = 32, 128, 256, 4
IMAGES = Data(source="synthetic:image/32x32x3/16", batch_size=64)
TOKENS = Data(source="synthetic:tokens/512", batch_size=BATCH, context=CONTEXT)
ACTIVATION = 4 * BATCH * CONTEXT * WIDTH
MODELS = {
    "resnet": {"data": IMAGES, "model": ResNet9(width=32), "task": Classification()},
    "vit": {
        "data": IMAGES,
        "model": ViT(patch=4, width=WIDTH, depth=DEPTH, heads=4, mlp_width=4 * WIDTH),
        "task": Classification(),
    },
    "gpt": {
        "data": TOKENS,
        "model": GPT(context=CONTEXT, width=WIDTH, depth=DEPTH, heads=4, tied=False),
        "task": LanguageModelling(),
    },
}


def compiled(model, plan):
    """(the admitted experiment, the text of its program) on four chips."""
    devices = slices.devices(chips.topology("v5e:2x2"))
    admitted = admit(Experiment(**MODELS[model], plan=plan, loop=Loop(steps=10)), devices=devices)
    return admitted, lowered(admitted)[0].compile().as_text()


@pytest.mark.parametrize("model", ["gpt", "vit"])
def test_data_parallel_is_one_reduction_of_the_gradient(model):
    admitted, text = compiled(model, Plan())
    gradient = bytes_of(admitted.params)
    found = bytes_by_kind(text)
    assert 0.99 * gradient <= found.pop("all-reduce") <= 1.01 * gradient
    assert sum(found.values()) == 0, found


def test_batch_statistics_are_all_that_a_resnet_adds():
    admitted, text = compiled("resnet", Plan())
    gradient, statistics = bytes_of(admitted.params), bytes_of(admitted.shapes.state)
    found = bytes_by_kind(text)
    assert gradient <= found.pop("all-reduce") <= 1.01 * gradient + 4 * statistics
    assert sum(found.values()) == 0, found


@pytest.mark.parametrize("model", ["gpt", "vit"])
def test_fsdp_gathers_params_and_scatters_gradients(model):
    admitted, text = compiled(model, Plan(data=1, fsdp=4))
    params = bytes_of(admitted.params)
    found = bytes_by_kind(text)
    assert params / 2 <= found["all-gather"] <= 1.1 * 2 * params
    sent = found["reduce-scatter"] + found.get("all-reduce", 0)
    assert 0.9 * params <= sent <= 1.1 * params
    assert found.get("all-to-all", 0) + found.get("collective-permute", 0) <= 0.01 * params
    largest = max(leaf.size for leaf in jax.tree.leaves(admitted.params)) * 4
    assert all(one.bytes <= largest for one in collectives(text) if one.kind == "all-gather")


def test_tensor_parallel_reduces_activations_and_gathers_none():
    admitted, text = compiled("gpt", Plan(data=1, tensor=4))
    found = bytes_by_kind(text)
    expected = (4 * DEPTH + 2) * ACTIVATION
    assert 0.99 * expected <= found.pop("all-reduce") <= 1.1 * expected
    tokens = 4 * BATCH * CONTEXT  # numbers one a token: the largest logit, the place of it
    assert sum(found.values()) <= 8 * tokens, found
