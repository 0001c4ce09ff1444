"""Sweeps as a good engineer writes them by hand for one model: plain JAX and optax, compiled once, data on the device.

lanes     `vmap` over the trials of a scan over the steps; all trials at once, or `lanes` at a time
scanned   one trial after the other through one compiled scan
bare      one trial after the other through one compiled step, called from a loop in Python
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sweep_rivals.work import Arrays, Outcome, Settings, Work, arrays, drawn, rows

Params = list[dict[str, jax.Array]]


class Numbers(NamedTuple):
    """The hyperparameters that the compiled programs take as inputs."""

    lr: Any
    weight_decay: Any
    label_smoothing: Any


class Carry(NamedTuple):
    step: jax.Array
    params: Params
    opt_state: Any


def init(seed: Any, sizes: tuple[int, ...]) -> Carry:
    """Params of layers of these sizes, he_normal but for the head, and the state of Adam."""
    hidden, head = jax.nn.initializers.he_normal(), jax.nn.initializers.lecun_normal()
    keys = jax.random.split(jax.random.key(seed), len(sizes) - 1)
    params = [
        {"kernel": (head if key is keys[-1] else hidden)(key, shape), "bias": jnp.zeros(shape[1])}
        for key, shape in zip(keys, zip(sizes, sizes[1:], strict=False), strict=True)
    ]
    return Carry(jnp.zeros((), jnp.int32), params, optax.scale_by_adam().init(params))


def logits(params: Params, x: jax.Array) -> jax.Array:
    for layer in params[:-1]:
        x = jax.nn.relu(x @ layer["kernel"] + layer["bias"][None])
    return x @ params[-1]["kernel"] + params[-1]["bias"][None]


def step(carry: Carry, ids: jax.Array, numbers: Numbers, train: tuple[jax.Array, jax.Array]) -> Carry:
    """One step of AdamW on the examples `ids`; kernels decay, biases do not."""
    x, y = train[0][ids], train[1][ids]

    def loss(params: Params) -> jax.Array:
        outputs = logits(params, x)
        target = optax.smooth_labels(jax.nn.one_hot(y, outputs.shape[-1]), numbers.label_smoothing)
        return optax.softmax_cross_entropy(outputs, target).mean()

    optimizer = optax.chain(
        optax.scale_by_adam(),
        optax.add_decayed_weights(numbers.weight_decay, mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params)),
        optax.scale(-numbers.lr),
    )
    state = (carry.opt_state, optax.MaskedState(optax.EmptyState()), optax.EmptyState())
    updates, state = optimizer.update(jax.grad(loss)(carry.params), state, carry.params)
    return Carry(carry.step + 1, optax.apply_updates(carry.params, updates), state[0])


def evaluate(params: Params, data: Arrays) -> Outcome:
    def figures(split: Any) -> tuple[jax.Array, jax.Array]:
        outputs = logits(params, split[0])
        nll = optax.softmax_cross_entropy_with_integer_labels(outputs, split[1]).mean()
        return nll, (outputs.argmax(axis=-1) == split[1]).mean()

    return Outcome(*figures(data.valid), *figures(data.test))


def whole(seed: Any, numbers: Numbers, order: jax.Array, data: Arrays, *, sizes: tuple[int, ...]) -> Outcome:
    """A trial from its first to its last step, and its figures."""
    carry, _ = jax.lax.scan(lambda c, ids: (step(c, ids, numbers, data.train), None), init(seed, sizes), order)
    return evaluate(carry.params, data)


class Bench:
    """What the three ways share: arrays on the device and the sizes of the layers."""

    def __init__(self, work: Work) -> None:
        held = arrays(work)
        self.work, self.length = work, len(held.train[0])
        self.sizes = (held.train[0].shape[1], work.width, work.width, 10)
        self.data: Arrays = jax.device_put(held)

    def order(self, settings: Settings) -> np.ndarray:
        return rows(settings.seed, self.length, self.work.steps, self.work.batch_size)


def _numbers(settings: Settings) -> Numbers:
    return Numbers(*(np.float32(value) for value in settings[:3]))


def _fetched(outcomes: list[Outcome]) -> list[Outcome]:
    return [Outcome(*(float(value) for value in outcome)) for outcome in jax.device_get(outcomes)]


def lanes(work: Work, settings: list[Settings] | None = None, *, lanes: int | None = None) -> list[Outcome]:
    """All trials side by side, or `lanes` of them at a time; the last group is filled up with its first trial."""
    bench, settings = Bench(work), settings or drawn(work)
    size = lanes or len(settings)
    program = jax.jit(jax.vmap(partial(whole, sizes=bench.sizes), in_axes=(0, 0, 0, None)))
    found = []
    for first in range(0, len(settings), size):
        group = settings[first : first + size]
        group = group + group[:1] * (size - len(group))
        numbers = Numbers(*np.asarray([one[:3] for one in group], np.float32).T)
        seeds = np.asarray([one.seed for one in group], np.int32)
        found.append(program(seeds, numbers, np.stack([bench.order(one) for one in group]), bench.data))
    columns = [np.concatenate(column) for column in zip(*jax.device_get(found), strict=True)]
    return [Outcome(*map(float, row)) for row in zip(*columns, strict=True)][: len(settings)]


def scanned(work: Work, settings: list[Settings] | None = None) -> list[Outcome]:
    """One trial after the other, each one call."""
    bench = Bench(work)
    program = jax.jit(partial(whole, sizes=bench.sizes))
    return _fetched([
        program(np.int32(one.seed), _numbers(one), bench.order(one), bench.data) for one in settings or drawn(work)
    ])  # fmt: skip


def bare_trial(bench: Bench) -> Callable[[Settings], Outcome]:
    """settings -> outcome, still on the device: a loop in Python around a jitted step that finds its batch itself."""

    def advance(carry: Carry, numbers: Numbers, order: jax.Array, train: Any) -> Carry:
        return step(carry, order[carry.step], numbers, train)

    begin, advance = jax.jit(partial(init, sizes=bench.sizes)), jax.jit(advance, donate_argnums=0)
    end = jax.jit(evaluate)

    def trial(settings: Settings) -> Outcome:
        numbers, order = jax.device_put((_numbers(settings), bench.order(settings)))
        carry = begin(np.int32(settings.seed))
        for _ in range(bench.work.steps):
            carry = advance(carry, numbers, order, bench.data.train)
        return end(carry.params, bench.data)

    return trial


def bare(work: Work, settings: list[Settings] | None = None) -> list[Outcome]:
    """One trial after the other, each so many calls."""
    trial = bare_trial(Bench(work))
    return _fetched([trial(one) for one in settings or drawn(work)])
