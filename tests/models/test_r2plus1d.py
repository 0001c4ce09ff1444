"""R(2+1)D against convolutions of three axes, and against the size of its authors' model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxnets.models import r2plus1d
from jaxnets.models.r2plus1d import _SpaceTime


def test_its_params_are_as_many_as_those_of_torchvision():
    clip = jax.ShapeDtypeStruct((1, 16, 112, 112, 3), jnp.float32)
    params, _ = jax.eval_shape(r2plus1d().init, jax.random.key(0), clip)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 31_505_325  # R2Plus1D_18_Weights.KINETICS400_V1


@pytest.mark.parametrize("stride", [1, 2])
def test_space_then_time_is_two_convolutions_of_three_axes(stride):
    module = _SpaceTime(5, 4, stride=stride)
    x = jax.random.normal(jax.random.key(0), (2, 4, 6, 8, 3))
    variables = module.init(jax.random.key(1), x, train=False)
    params = variables["params"]

    def conv(x, kernel, strides, pads):
        return lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=("NDHWC", "DHWIO", "NDHWC"))

    y = conv(x, params["space"]["conv"]["kernel"][None], (1, stride, stride), ((0, 0), (1, 1), (1, 1)))
    y = jax.nn.relu(y / np.sqrt(1 + 1e-5))  # a norm that has seen nothing
    y = conv(y, params["time"]["kernel"][:, None], (stride, 1, 1), ((1, 1), (0, 0), (0, 0)))
    np.testing.assert_allclose(module.apply(variables, x, train=False), y, rtol=1e-4, atol=1e-5)
