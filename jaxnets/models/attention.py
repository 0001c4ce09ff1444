"""Multi-head attention: grouped queries, rotary positions, a causal mask, a key-value cache; and the MLP beside it."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxnets.axes import Divided, named
from jaxnets.models.layers import Dropout, DropPath

BLOCK_RULES = (  # tensor parallelism of a `Block`: whole heads, and columns of the MLP, on each device
    Divided("attention/out/kernel", -2, "heads"),
    Divided("attention/qkv/kernel", -1, "kv_heads"),
    Divided("attention/qkv/bias", -1, "kv_heads"),
    Divided("mlp/in/kernel", -1, "mlp_width"),
    Divided("mlp/in/bias", -1, "mlp_width"),
    Divided("mlp/out/kernel", -2, "mlp_width"),
)


def rotary(
    x: Float[Array, "b t n k"], positions: Int[Array, " t"], *, base: float = 10000.0
) -> Float[Array, "b t n k"]:
    """Rotary position embedding (Su et al., 2021): pairs (x_i, x_{i+k/2}) turned by position × base^(-2i/k)."""
    half = x.shape[-1] // 2
    frequency = base ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angle = positions.astype(jnp.float32)[:, None] * frequency[None]  # t k/2
    cos, sin = jnp.cos(angle)[None, :, None], jnp.sin(angle)[None, :, None]
    a, b = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1).astype(x.dtype)


def attend(
    q: Float[Array, "b t n k"],
    k: Float[Array, "b s m k"],
    v: Float[Array, "b s m k"],
    *,
    mask: Any = None,
) -> Float[Array, "b t n k"]:
    """softmax(q kᵀ / √k) v; n / m queries share a key and value. `mask` ((b) t s): True where a query may look."""
    b, t, n, width = q.shape
    m = k.shape[2]
    q = q.reshape(b, t, m, n // m, width)
    scores = jnp.einsum("btmgk,bsmk->bmgts", q, k, preferred_element_type=jnp.float32) / width**0.5
    if mask is not None:
        whole = mask[None, None, None] if mask.ndim == 2 else mask[:, None, None]
        scores = jnp.where(whole, scores, jnp.finfo(jnp.float32).min)
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    return jnp.einsum("bmgts,bsmk->btmgk", weights, v).reshape(b, t, n, width)


class Attention(nn.Module):
    """Self-attention with one fused projection for queries, keys and values.

    It gives, for each key-value head, the queries that share it, its key and its value, so that devices which divide
    the projection hold whole heads and nothing moves between them before the output.
    With a `cache` collection present the tokens stand at its `index`, see what was cached before them, and are added.
    `spans` are, for each token, the first place that it sees and the one behind the last.
    """

    heads: int
    kv_heads: int
    causal: bool
    rotary: bool
    bias: bool = True
    out_init: Any = nn.initializers.xavier_uniform()
    kernel_init: Any = nn.initializers.xavier_uniform()
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b t d"], spans: Int[Array, "b t 2"] | None = None) -> Float[Array, "b t d"]:
        b, t, d = x.shape
        width, group = d // self.heads, self.heads // self.kv_heads
        qkv = nn.Dense(
            (self.heads + 2 * self.kv_heads) * width,
            use_bias=self.bias,
            kernel_init=self.kernel_init,
            dtype=self.dtype,
            name="qkv",
        )(x).reshape(b, t, self.kv_heads, group + 2, width)
        qkv = named(qkv, "batch", None, "heads", None, None)
        q, k, v = qkv[:, :, :, :group].reshape(b, t, self.heads, width), qkv[:, :, :, group], qkv[:, :, :, group + 1]
        start: Any = 0
        cached = self.has_variable("cache", "keys")
        if cached:
            start = self.get_variable("cache", "index")
        positions = start + jnp.arange(t)
        if self.rotary:
            q, k = rotary(q, positions), rotary(k, positions)
        if cached:
            k, v = self._remember(k, v, start)
        mask = positions[:, None] >= jnp.arange(k.shape[1])[None] if self.causal else None
        if spans is not None:
            places = jnp.arange(k.shape[1])[None, None]
            seen = (places >= spans[..., :1]) & (places < spans[..., 1:])  # b t s
            mask = seen if mask is None else seen & mask[None]
        y = named(attend(q, k, v, mask=mask).reshape(b, t, d), "batch", None, "heads")
        return nn.Dense(d, use_bias=self.bias, kernel_init=self.out_init, dtype=self.dtype, name="out")(y)

    def _remember(self, k: Array, v: Array, start: Any) -> tuple[Array, Array]:
        zero = jnp.zeros((), jnp.int32)
        at = (zero, start, zero, zero)
        keys = jax.lax.dynamic_update_slice(self.get_variable("cache", "keys"), k.astype(self.dtype), at)
        values = jax.lax.dynamic_update_slice(self.get_variable("cache", "values"), v.astype(self.dtype), at)
        self.put_variable("cache", "keys", keys)
        self.put_variable("cache", "values", values)
        self.put_variable("cache", "index", start + k.shape[1])
        return keys, values


class Block(nn.Module):
    """A pre-norm transformer block: x + attention(norm(x)), then x + mlp(norm(x)), dropout and drop path on both."""

    heads: int
    kv_heads: int
    mlp_width: int
    causal: bool
    rotary: bool
    dropout: Any = None
    kernel_init: Any = nn.initializers.xavier_uniform()
    out_init: Any = nn.initializers.xavier_uniform()
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t d"], train: bool, drop_path: Any = None, spans: Any = None
    ) -> Float[Array, "b t d"]:
        y = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name="attention_norm")(x)
        y = Attention(
            self.heads, self.kv_heads, self.causal, self.rotary,
            kernel_init=self.kernel_init, out_init=self.out_init, dtype=self.dtype, name="attention",
        )(y, spans)  # fmt: skip
        y = Dropout(self.dropout, name="attention_dropout")(y, train=train)
        x = named(x + DropPath(drop_path, name="attention_drop_path")(y, train=train), "batch", None, None)
        y = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name="mlp_norm")(x)
        y = MLPBlock(self.mlp_width, self.kernel_init, self.out_init, self.dtype, name="mlp")(y)
        y = Dropout(self.dropout, name="mlp_dropout")(y, train=train)
        return named(x + DropPath(drop_path, name="mlp_drop_path")(y, train=train), "batch", None, None)


class MLPBlock(nn.Module):
    """Dense, GELU (tanh form: the exact one is slow on XLA:CPU), dense."""

    width: int
    kernel_init: Any
    out_init: Any
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b t d"]) -> Float[Array, "b t d"]:
        y = nn.Dense(self.width, kernel_init=self.kernel_init, dtype=self.dtype, name="in")(x)
        y = named(nn.gelu(y), "batch", None, "width")
        return nn.Dense(x.shape[-1], kernel_init=self.out_init, dtype=self.dtype, name="out")(y)
