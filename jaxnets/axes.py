"""Names for the axes of activations and of params: where they live is decided elsewhere, and a model never asks.

A model calls `named(x, "batch", None, "heads", None)` and gets `x` back. While a step is traced for several devices,
the room of plans listens (`placed_by`) and puts each named axis on the devices that the plan has for it.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import jax

Axis = Literal["batch", "heads", "width", "vocabulary"] | None
_platform: contextvars.ContextVar[str | None] = contextvars.ContextVar("platform", default=None)
Place = Callable[[Any, tuple[Axis, ...]], Any]
_place: contextvars.ContextVar[Place | None] = contextvars.ContextVar("place", default=None)


class Divided(NamedTuple):
    """A rule of tensor parallelism: the leaves of params that it fits are divided along one axis.

    path: the end of a leaf's path, as in "attention/qkv/kernel"
    axis: counted from the end, so that stacked layers make no difference
    size: what is divided, in the words of the model's config, or "vocabulary"; the devices must divide it
    """

    path: str
    axis: int
    size: str


def named(x: Any, *axes: Axis) -> Any:
    """`x`, whose axes are these, one name each; `None` = not divided.

    >>> named("any array", "batch", None)
    'any array'
    """
    place = _place.get()
    return x if place is None else place(x, axes)


@contextlib.contextmanager
def placed_by(place: Place) -> Iterator[None]:
    """Within it `named` returns what `place(x, axes)` does.

    >>> with placed_by(lambda x, axes: (x, axes)):
    ...     named("x", "batch", None)
    ('x', ('batch', None))
    """
    token = _place.set(place)
    try:
        yield
    finally:
        _place.reset(token)


def platform() -> str:
    """For which kind of device the function at hand is being traced: cpu, gpu or tpu; its compiler may matter."""
    return _platform.get() or jax.default_backend()


@contextlib.contextmanager
def traced_for(kind: str) -> Iterator[None]:
    """Within it `platform()` is `kind`: programs are compiled for devices that are not there, too.

    >>> with traced_for("tpu"):
    ...     platform()
    'tpu'
    """
    token = _platform.set(kind)
    try:
        yield
    finally:
        _platform.reset(token)
