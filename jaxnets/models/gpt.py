"""Decoder-only transformer in the manner of GPT-2 (Radford et al., 2019).

Departures: rotary positions (Su et al., 2021) by default, grouped-query attention (Ainslie et al., 2023) if `kv_heads`
is given, a free head if not `tied`.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxnets.axes import Divided, named
from jaxnets.models.attention import BLOCK_RULES, Block
from jaxnets.models.layers import Dropout, drop_path_rates
from jaxnets.models.linen import from_linen
from jaxnets.models.stack import Remat, Stack
from jaxnets.types import Model, experiment_dataclass, number

_NORMAL = nn.initializers.normal(0.02)
RULES = (
    *BLOCK_RULES,
    Divided("embed/embedding", -2, "vocabulary"),
    Divided("head/kernel", -1, "vocabulary"),
)


@experiment_dataclass
class GPT:
    """Config of `gpt`."""

    context: int = 1024  # tokens
    width: int = 768
    depth: int = 12
    heads: int = 12
    kv_heads: int | None = None  # None = as many as heads
    mlp_width: int | None = None  # None = 4 × width
    positions: Literal["rotary", "learned"] = "rotary"
    tied: bool = True  # the head is the embedding
    vocabulary_multiple: int = 1  # rows of embedding and head are one of its multiples, as fast matrix products need
    dropout: float | None = number(None)  # share of values set to 0 while training
    drop_path: float | None = number(None)  # share of examples that pass by the last block while training
    remat: Remat = "none"  # what of a layer the backward pass computes again: full, dots, dots_no_batch
    dtype: str = "float32"  # of the computation; params are float32


def gpt(
    vocabulary_size: int,
    *,
    context: int = 1024,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    kv_heads: int | None = None,
    mlp_width: int | None = None,
    positions: Literal["rotary", "learned"] = "rotary",
    tied: bool = True,
    vocabulary_multiple: int = 1,
    dropout: Any = None,
    drop_path: Any = None,
    remat: Remat = "none",
    dtype: str = "float32",
    separator: int | None = None,
    unroll: bool = False,
) -> Model:
    """A decoder: tokens (b t) -> logits (b t vocabulary_size). `cache(batch, length)` decodes token by token.

    A token that is the `separator` begins a document: it and what follows see nothing before it, and learned positions
    count from it. The rows that `vocabulary_multiple` adds stand for no token: they have no logits and no gradient.

    Raises ValueError if heads do not divide width, or key-value heads do not divide heads.
    """
    kv = heads if kv_heads is None else kv_heads
    if width % heads or heads % kv:
        raise ValueError(f"width {width} must divide over heads {heads}, and heads over kv_heads {kv}; use multiples")
    if positions == "rotary" and (width // heads) % 2:
        raise ValueError(f"rotary positions need an even width a head, not {width // heads}; change width or heads")
    make = partial(
        _GPT, vocabulary_size, context, width, depth, heads, kv, mlp_width or 4 * width, positions, tied,
        vocabulary_multiple, dropout, drop_path, jnp.dtype(dtype), separator,
    )  # fmt: skip

    def cache(batch: int, length: int, /) -> dict[str, Any]:
        shape = (depth, batch, length, kv, width // heads)
        attention = {
            "keys": jnp.zeros(shape, jnp.dtype(dtype)),
            "values": jnp.zeros(shape, jnp.dtype(dtype)),
            "index": jnp.zeros((depth,), jnp.int32),
        }
        own = {"index": jnp.zeros((), jnp.int32)}
        if separator is not None:
            own["begin"] = jnp.zeros((batch,), jnp.int32)
        return {"cache": {"blocks": {"blocks": {"layer": {"attention": attention}}}, **own}}

    return from_linen(make(unroll=unroll, remat=remat), unrolled=make(unroll=True), cache=cache)


class _GPT(nn.Module):
    vocabulary_size: int
    context: int
    width: int
    depth: int
    heads: int
    kv_heads: int
    mlp_width: int
    positions: str
    tied: bool
    vocabulary_multiple: int
    dropout: Any
    drop_path: Any
    dtype: Any
    separator: int | None = None
    unroll: bool = False
    remat: Remat = "none"

    @nn.compact
    def __call__(self, tokens: Int[Array, "b t"], *, train: bool) -> Float[Array, "b t v"]:
        rows = -(-self.vocabulary_size // self.vocabulary_multiple) * self.vocabulary_multiple
        embed = nn.Embed(rows, self.width, embedding_init=_NORMAL, dtype=self.dtype, name="embed")
        x = embed(tokens)  # b t d
        start: Any = 0
        if self.has_variable("cache", "index"):
            start = self.get_variable("cache", "index")
            self.put_variable("cache", "index", start + tokens.shape[1])
        places, spans = (start + jnp.arange(tokens.shape[1]))[None], None  # 1 t
        if self.separator is not None:
            begins = self._begins(tokens, places)
            spans = jnp.stack([begins, jnp.broadcast_to(places + 1, begins.shape)], axis=-1)
            places = places - begins
        if self.positions == "learned":
            table = self.param("positions", _NORMAL, (self.context, self.width))
            x = x + jnp.take(table, places, axis=0).astype(x.dtype)
        x = named(Dropout(self.dropout, name="dropout")(x, train=train), "batch", None, None)
        block = partial(
            Block, self.heads, self.kv_heads, self.mlp_width, True, self.positions == "rotary", self.dropout,
            kernel_init=_NORMAL, out_init=nn.initializers.normal(0.02 / (2 * self.depth) ** 0.5), dtype=self.dtype,
        )  # fmt: skip
        rates = drop_path_rates(self.drop_path, self.depth)
        x = Stack(block, self.depth, unroll=self.unroll, remat=self.remat, name="blocks")(x, train, rates, spans)
        x = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name="norm")(x)
        if self.tied:
            logits = embed.attend(x)
        else:
            logits = nn.Dense(rows, use_bias=False, kernel_init=_NORMAL, dtype=self.dtype, name="head")(x)
        logits = named(logits, "batch", None, "vocabulary")
        return logits[..., : self.vocabulary_size].astype(jnp.float32)

    def _begins(self, tokens: Int[Array, "b t"], places: Int[Array, "1 t"]) -> Int[Array, "b t"]:
        """Where the document of each token begins: at the last separator, or where there is none at the first place."""
        begins = jax.lax.cummax(jnp.where(tokens == self.separator, places, 0), axis=1)
        if self.has_variable("cache", "begin"):
            begins = jnp.maximum(begins, self.get_variable("cache", "begin")[:, None])
            self.put_variable("cache", "begin", begins[:, -1])
        return begins
