"""Transformer encoder of texts in the manner of BERT (Devlin et al., 2019), and without layers a bag of words.

Departures: norms before each part, rotary positions (Su et al., 2021), no pairs of texts; the mean over tokens by
default. At depth 0 it is fastText (Joulin et al., 2017): the mean of the vectors of words and of hashed n-grams.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxnets.models.attention import Block
from jaxnets.models.layers import Dropout, DropPath, drop_path_rates
from jaxnets.models.linen import from_linen
from jaxnets.models.stack import Remat, Stack
from jaxnets.types import Model, experiment_dataclass, number

_NORMAL = nn.initializers.normal(0.02)
_PRIME, _MIX = 2654435761, 0x85EBCA6B  # of Knuth's multiplicative hash, and of MurmurHash3's last rounds


@experiment_dataclass
class TextEncoder:
    """Config of `text_encoder`; the vocabulary is that of the data."""

    width: int = 128
    depth: int = 0  # layers; 0 = a bag of words
    heads: int = 4
    mlp_width: int | None = None  # None = 4 × width
    pool: Literal["mean", "cls"] = "mean"  # over the tokens, or what a token of its own gathers from them
    ngrams: int = 1  # that many tokens in a row have a vector, too; 1 = tokens alone
    buckets: int = 32768  # vectors that the n-grams of each length share by a hash
    word_dropout: float | None = number(None)  # share of tokens and n-grams left out while training
    dropout: float | None = number(None)  # share of values set to 0 while training
    drop_path: float | None = number(None)  # share of examples that pass by the last block while training
    remat: Remat = "none"  # what of a layer the backward pass computes again: full, dots, dots_no_batch
    dtype: str = "float32"  # of the computation; params are float32


def text_encoder(
    num_outputs: int,
    *,
    vocabulary_size: int,
    width: int = 128,
    depth: int = 0,
    heads: int = 4,
    mlp_width: int | None = None,
    pool: Literal["mean", "cls"] = "mean",
    ngrams: int = 1,
    buckets: int = 32768,
    word_dropout: Any = None,
    dropout: Any = None,
    drop_path: Any = None,
    remat: Remat = "none",
    dtype: str = "float32",
    unroll: bool = False,
) -> Model:
    """Tokens (b t), 0 behind the end of a text, -> outputs (b num_outputs). What is behind the end changes nothing.

    Raises ValueError if heads do not divide width into even parts, or "cls" has no layers that could fill it.
    """
    if depth and (width % heads or (width // heads) % 2):
        raise ValueError(f"width {width} must divide over heads {heads} into even numbers; use a multiple of 2 × heads")
    if pool == "cls" and not depth:
        raise ValueError("pool 'cls' gathers nothing at depth 0; use 'mean', or a depth of at least 1")
    make = partial(
        Encoder, num_outputs, vocabulary_size, width, depth, heads, mlp_width or 4 * width, pool, ngrams, buckets,
        word_dropout, dropout, drop_path, jnp.dtype(dtype),
    )  # fmt: skip
    return from_linen(make(unroll=unroll, remat=remat), unrolled=make(unroll=True))


class Encoder(nn.Module):
    """`text_encoder` as a module, to be a part of another."""

    num_outputs: int
    vocabulary_size: int
    width: int
    depth: int
    heads: int
    mlp_width: int
    pool: str
    ngrams: int
    buckets: int
    word_dropout: Any
    dropout: Any
    drop_path: Any
    dtype: Any
    unroll: bool = False
    remat: Remat = "none"

    @nn.compact
    def __call__(self, tokens: Int[Array, "b t"], *, train: bool) -> Float[Array, "b c"]:
        there = tokens > 0
        x = nn.Embed(self.vocabulary_size, self.width, embedding_init=_NORMAL, dtype=self.dtype, name="embed")(tokens)
        x = DropPath(self.word_dropout, name="word_dropout")(x.reshape(-1, self.width), train=train).reshape(x.shape)
        if self.depth:
            x, there = self._encoded(x, there, train)  # b t d
        parts, counts = [(x * there[..., None]).sum(axis=1)], there.sum(axis=1)
        for length in range(2, self.ngrams + 1):
            found, inside = self._grams(tokens, length, train)
            parts.append(found)
            counts = counts + inside
        mean = sum(parts) / jnp.maximum(counts, 1)[:, None].astype(self.dtype)
        pooled = x[:, 0] if self.pool == "cls" else mean  # b d
        if self.depth:
            pooled = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name="norm")(pooled)
        pooled = Dropout(self.dropout, name="dropout")(pooled, train=train)
        return nn.Dense(self.num_outputs, dtype=self.dtype, name="head")(pooled).astype(jnp.float32)

    def _grams(
        self, tokens: Int[Array, "b t"], length: int, train: bool
    ) -> tuple[Float[Array, "b d"], Int[Array, " b"]]:
        """The sum of the vectors of all `length` tokens in a row, and how many there are."""
        codes, inside = hashed(tokens, length, self.buckets)
        x = nn.Embed(self.buckets, self.width, embedding_init=_NORMAL, dtype=self.dtype, name=f"grams{length}")(codes)
        flat = x.reshape(-1, self.width)
        x = DropPath(self.word_dropout, name=f"grams{length}_dropout")(flat, train=train).reshape(x.shape)
        return (x * inside[..., None]).sum(axis=1), inside.sum(axis=1)

    def _encoded(
        self, x: Float[Array, "b t d"], there: Bool[Array, "b t"], train: bool
    ) -> tuple[Float[Array, "b t2 d"], Bool[Array, "b t2"]]:
        """The tokens after all layers, each of which sees those that are there."""
        if self.pool == "cls":
            first = self.param("cls", _NORMAL, (1, 1, self.width)).astype(x.dtype)
            x = jnp.concatenate([jnp.broadcast_to(first, (len(x), 1, self.width)), x], axis=1)
            there = jnp.pad(there, ((0, 0), (1, 0)), constant_values=True)
        ends = jnp.broadcast_to(there.sum(axis=1)[:, None], there.shape)
        block = partial(
            Block, self.heads, self.heads, self.mlp_width, False, True, self.dropout,
            kernel_init=_NORMAL, out_init=nn.initializers.normal(0.02 / (2 * self.depth) ** 0.5), dtype=self.dtype,
        )  # fmt: skip
        rates = drop_path_rates(self.drop_path, self.depth)
        spans = jnp.stack([jnp.zeros_like(ends), ends], axis=-1)
        x = Stack(block, self.depth, unroll=self.unroll, remat=self.remat, name="blocks")(x, train, rates, spans)
        return x, there


def hashed(tokens: Int[Array, "b t"], length: int, buckets: int) -> tuple[Int[Array, "b t"], Bool[Array, "b t"]]:
    """(bucket of the `length` tokens from each on, whether all of them are there).

    >>> codes, there = hashed(jnp.array([[3, 4, 3, 4, 0]]), 2, 64)
    >>> bool(codes[0, 0] == codes[0, 2]), bool(codes[0, 0] == codes[0, 1]), there.tolist()
    (True, False, [[True, True, True, False, False]])
    """
    code, inside = jnp.zeros(tokens.shape, jnp.uint32), jnp.ones(tokens.shape, bool)
    for offset in range(length):
        one = jnp.pad(tokens[:, offset:], ((0, 0), (0, min(offset, tokens.shape[1]))))
        code = (code ^ one.astype(jnp.uint32)) * jnp.uint32(_PRIME)
        code = (code ^ (code >> 15)) * jnp.uint32(_MIX)
        code = code ^ (code >> 13)
        inside = inside & (one > 0)
    return (code % buckets).astype(jnp.int32), inside
