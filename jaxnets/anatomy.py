"""What a model is made of, layer by layer, from shapes alone: nothing is computed, nothing is materialised.

Shapes are those of the views of `Model.features`. FLOPs are XLA's own count (`cost_analysis` of the lowered forward
pass of one example, every layer of a stack written out): an addition and a multiplication are one each, and what a
padding leaves out is not counted. The equations of the forward pass carry the path of the view that they belong to, so
a layer's FLOPs are XLA's count for its own equations, without those of the layers inside it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Literal, jaxpr_as_fun

from jaxnets.models.stack import view_paths
from jaxnets.types import VIEW, Model, PyTree


class Layer(NamedTuple):
    """One view of a model: what is its own, without what is inside the layers that it holds."""

    path: str  # "" is the model itself: what it does between its layers
    shape: tuple[int, ...]  # of its output, for one example
    parameters: int
    flops: float


class Anatomy(NamedTuple):
    """The layers that hold parameters or compute, in the order in which they do, and the totals of the whole model."""

    layers: list[Layer]
    output: tuple[int, ...]  # for one example
    parameters: int
    flops: float


def totals(model: Model, inputs: PyTree) -> tuple[int, float]:
    """(parameters, FLOPs of one forward pass) of `model` on inputs (1 …)."""
    params, state = _variables(model, inputs)
    forward = model.features or model.apply
    lowered = jax.jit(lambda *given: forward(*given)[0]).lower(params, state, inputs)
    return sum(leaf.size for leaf in jax.tree.leaves(params)), _flops(lowered)


def anatomy(model: Model, inputs: PyTree) -> Anatomy:
    """The layers and totals of `model` on inputs (1 …).

    A model without `features` is one layer, and what it repeats in a loop is counted once, as XLA does.

    >>> from jaxnets.models import mlp
    >>> found = anatomy(mlp(3, widths=(8,)), jax.ShapeDtypeStruct((1, 4), "float32"))
    >>> [(layer.path, layer.shape, layer.parameters) for layer in found.layers]
    [('dense0', (8,), 40), ('head', (3,), 27), ('', (3,), 0)]
    """
    parameters, flops = totals(model, inputs)
    params, state = _variables(model, inputs)
    if model.features is None:
        outputs, _ = jax.eval_shape(model.apply, params, state, inputs)
        output = _shape(outputs)
        return Anatomy([Layer("", output, parameters, flops)], output, parameters, flops)
    closed, (outputs, views) = jax.make_jaxpr(model.features, return_shape=True)(params, state, inputs)
    shapes = {path: view.shape[1:] for path, view in views.items()} | {"": _shape(outputs)}
    own, parts = _parameters(params, shapes), _equations(closed.eqns, shapes)
    order = dict.fromkeys([*(path for path in parts if path), *shapes])  # the model itself comes last
    layers = [Layer(path, shapes[path], own[path], _flops_of(closed.jaxpr, parts.get(path, []))) for path in order]
    return Anatomy([layer for layer in layers if layer.parameters or layer.flops], shapes[""], parameters, flops)


def _variables(model: Model, inputs: PyTree) -> tuple[PyTree, PyTree]:
    return jax.eval_shape(lambda: model.init(jax.random.key(0), inputs))


def _shape(outputs: PyTree) -> tuple[int, ...]:
    return jax.tree.leaves(outputs)[0].shape[1:]


def _parameters(params: PyTree, views: Iterable[str]) -> dict[str, int]:
    """How many of the parameters each view holds itself: those of a stack go to its layers."""
    own = dict.fromkeys(views, 0)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        paths = view_paths(tuple(str(getattr(key, "key", key)) for key in path), leaf.shape)
        for view in paths:
            own[_nearest(view, own)] += leaf.size // len(paths)
    return own


def _equations(equations: Iterable[Any], views: Container[str]) -> dict[str, list[Any]]:
    """The equations of a forward pass by the innermost view that they stand in, in the order of the pass."""
    own: dict[str, list[Any]] = {}
    for equation in equations:
        scopes = str(equation.source_info.name_stack).split("/")
        within = [scope.removeprefix(VIEW) for scope in scopes if scope.startswith(VIEW)]
        own.setdefault(_nearest(within[-1] if within else "", views), []).append(equation)
    return own


def _nearest(path: str, views: Container[str]) -> str:
    """The view at `path`, or the innermost one around it."""
    while path not in views:
        path = path.rpartition(".")[0]
    return path


def _flops_of(jaxpr: Any, equations: Sequence[Any]) -> float:
    """XLA's count for some equations of `jaxpr`, lowered as a program of their own."""
    made = {variable for equation in equations for variable in equation.outvars}
    read = [atom for equation in equations for atom in equation.invars if not isinstance(atom, Literal)]
    given = [variable for variable in dict.fromkeys(read) if variable not in made]
    part = jaxpr.replace(constvars=[], invars=given, outvars=list(made), eqns=list(equations))
    program = jax.jit(jaxpr_as_fun(ClosedJaxpr(part, [])))
    return _flops(program.lower(*(jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in given)))


def _flops(lowered: jax.stages.Lowered) -> float:
    counted: Any = lowered.cost_analysis()
    return float((counted or {}).get("flops", 0.0))
