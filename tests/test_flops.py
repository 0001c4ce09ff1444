"""FLOPs of a jaxpr: against XLA's own count where there is no loop, and against the unrolled model where there is."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest

from jaxnets import models
from jaxnets.flops import flops

IMAGES = jax.ShapeDtypeStruct((8, 32, 32, 3), "float32")
TOKENS = jax.ShapeDtypeStruct((8, 64), "int32")


def traced(function, *shapes):
    return jax.jit(function).trace(*shapes)


def losses(model, inputs, *, gradient):
    """The trace of a model's summed outputs, or of their gradient."""
    params, state = jax.eval_shape(lambda: model.init(jax.random.key(0), inputs))

    def total(params, state, inputs):
        return jnp.sum(model.apply(params, state, inputs, train=True)[0])

    return traced(jax.grad(total) if gradient else total, params, state, inputs)


@pytest.mark.parametrize("gradient", [False, True], ids=["forward", "gradient"])
@pytest.mark.parametrize(
    ("make", "inputs"),
    [
        (partial(models.cnn, 10), IMAGES),
        (partial(models.gpt, 300, context=64, width=64, depth=1, heads=2, unroll=True), TOKENS),
    ],
    ids=["cnn", "gpt"],
)
def test_as_xla_counts_where_there_is_no_loop(make, inputs, gradient):
    trace = losses(make(), inputs, gradient=gradient)
    # Arithmetic that one of the two leaves out (conversions, softmax) is below a hundredth of the products.
    assert flops(trace.jaxpr) == pytest.approx(trace.lower().cost_analysis()["flops"], rel=0.01)


def test_a_scanned_stack_is_all_its_layers():
    make = partial(models.gpt, 300, context=64, width=64, heads=2)
    counts = {depth: flops(losses(make(depth=depth), TOKENS, gradient=True).jaxpr) for depth in (1, 2, 6)}
    assert counts[6] - counts[1] == pytest.approx(5 * (counts[2] - counts[1]), rel=1e-6)
    unrolled = flops(losses(make(depth=2, unroll=True), TOKENS, gradient=True).jaxpr)
    assert counts[2] == pytest.approx(unrolled, rel=0.01)  # slices and sums of gradients differ
    again = flops(losses(make(depth=6, remat="full"), TOKENS, gradient=True).jaxpr)
    assert 1.15 * counts[6] < again < 4 / 3 * counts[6]  # at most one more forward pass beside three as long


@pytest.mark.parametrize(("stride", "padding"), [(1, "SAME"), (2, "SAME"), (2, "VALID"), (3, ((2, 0), (1, 3)))])
def test_convolutions_and_their_gradients_are_exact(stride, padding):
    def convolved(x, w):
        return jax.lax.conv_general_dilated(x, w, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))

    x, w = jax.ShapeDtypeStruct((4, 11, 9, 6), "float32"), jax.ShapeDtypeStruct((3, 2, 6, 8), "float32")
    forward = flops(traced(convolved, x, w).jaxpr)
    assert forward == traced(convolved, x, w).lower().cost_analysis()["flops"]
    both = traced(lambda x, w, g: jax.vjp(convolved, x, w)[1](g), x, w, jax.eval_shape(convolved, x, w))
    assert flops(both.jaxpr) == pytest.approx(2 * forward)  # each gradient meets the same pairs


def test_devices_and_branches():
    square = jax.ShapeDtypeStruct((8, 8), "float32")
    mesh = jax.make_mesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("x")
    mapped = jax.shard_map(lambda a: a @ a.T, mesh=mesh, in_specs=spec, out_specs=spec)
    assert flops(traced(mapped, square).jaxpr) == 2 * 8**3
    branches = traced(lambda a: jax.lax.cond(a[0, 0] > 0, lambda: a @ a, lambda: a), square)
    assert 2 * 8**3 <= flops(branches.jaxpr) <= 2 * 8**3 + 8
