"""Repeated layers: stacked on axis 0 and scanned, or unrolled over slices of the same variables.

An interceptor sees nothing inside a scan but leaked tracers, so `features` unrolls. An unrolled layer is applied on
its own; `unrolled_path` tells an interceptor where in the whole model it stands.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

_AXES: Any = {"params": 0, "batch_stats": 0, "cache": 0}
Remat = Literal["none", "full", "dots", "dots_no_batch"]
_POLICIES: dict[str, Any] = {
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.checkpoint_dots,
    "dots_no_batch": jax.checkpoint_policies.checkpoint_dots_with_no_batch_dims,
}
unrolled_path: contextvars.ContextVar[tuple[str, ...]] = contextvars.ContextVar("unrolled_path", default=())


class Stack(nn.Module):
    """`depth` equal layers `make()(x, train)` applied one after the other; their variables are stacked on axis 0.

    With `rates` (depth,) they are `make()(x, train, rate)`, each with its own: the rates of drop path.
    With `spans` they are `make()(x, train, rate, spans)`, the same for all: what each token sees (see `Attention`).
    With `remat` the backward pass computes what is inside a layer again instead of keeping it: all of it ("full"), all
    but matrix products ("dots"), all but those without a batch axis ("dots_no_batch").
    Scanned and unrolled give the same outputs from the same variables; while training with dropout they draw other
    numbers.
    """

    make: Callable[..., nn.Module]
    depth: int
    unroll: bool = False
    remat: Remat = "none"

    @nn.compact
    def __call__(self, x: Any, train: bool, rates: Any = None, spans: Any = None) -> Any:
        if self.depth == 0:
            return x
        if self.unroll and not self.is_initializing():
            return self._unrolled(x, train, rates, spans)
        scanned = nn.scan(
            rematerialised(_Layer, self.remat, scanned=True),
            variable_axes=_AXES,
            split_rngs={"params": True, "dropout": True},
            length=self.depth,
            in_axes=(nn.broadcast, 0, nn.broadcast),  # pyright: ignore[reportArgumentType]
        )
        return scanned(self.make, name="blocks")(x, train, rates, spans)[0]

    def _unrolled(self, x: Any, train: bool, rates: Any, spans: Any) -> Any:
        whole = {name: tree["blocks"] for name, tree in self.variables.items() if "blocks" in tree}
        moves = [name for name in whole if name != "params" and self.is_mutable_collection(name)]
        moved, layer = [], rematerialised(_Layer, self.remat)
        for index in range(self.depth):
            own = jax.tree.map(lambda leaf, index=index: leaf[index], whole)
            rate = None if rates is None else rates[index]
            rngs = {"dropout": self.make_rng("dropout")} if self.has_rng("dropout") else {}
            with _inside((*unrolled_path.get(), *self.path, str(index))):
                (x, _), changed = layer(self.make).apply(own, x, train, rate, spans, rngs=rngs, mutable=moves)
            moved.append(changed)
        for name in moves:
            self.put_variable(
                name, "blocks", jax.tree.map(lambda *leaves: jnp.stack(leaves), *[m[name] for m in moved])
            )
        return x


class _Layer(nn.Module):
    make: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x: Any, train: bool, rate: Any, spans: Any) -> tuple[Any, None]:
        more = (rate, spans) if spans is not None else () if rate is None else (rate,)
        return self.make(name="layer")(x, train, *more), None


def rematerialised(layer: Any, remat: Remat, *, scanned: bool = False) -> Any:
    """The module class `layer`, called as (x, train, …), under a policy by name; inside a scan nothing can merge the
    two computations, so the barrier that keeps them apart is left out."""
    if remat == "none":
        return layer
    return nn.remat(layer, policy=_POLICIES[remat], prevent_cse=not scanned, static_argnums=(2,))


@contextlib.contextmanager
def _inside(path: tuple[str, ...]) -> Iterator[None]:
    token = unrolled_path.set(path)
    try:
        yield
    finally:
        unrolled_path.reset(token)


def view_paths(path: tuple[str, ...], shape: tuple[int, ...]) -> list[str]:
    """The views that a variable at `path` belongs to: one, or one a layer where it is stacked.

    >>> view_paths(("head", "kernel"), (8, 3))
    ['head']
    >>> view_paths(("blocks", "blocks", "layer", "mlp", "bias"), (2, 8))
    ['blocks.0.mlp', 'blocks.1.mlp']
    """
    names = path[:-1]
    for at in range(len(names) - 1):
        if names[at : at + 2] == ("blocks", "layer"):
            return [".".join((*names[:at], str(layer), *names[at + 2 :])) for layer in range(shape[0])]
    return [".".join(names)]
