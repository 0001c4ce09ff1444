"""A prompt in, its continuations out: what a finished language-model run writes, byte by byte or token by token."""

from __future__ import annotations

import math
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxnets import evaluate, forward
from jaxnets.build import build_model
from jaxnets.data import Schema
from jaxnets.data.tokenizer import opened as tokenizer
from jaxnets.errors import UsageError
from jaxnets.evaluate import Opened
from jaxnets.generate import generate

_BYTES = 256  # the vocabulary of a text that is read as it is
_COLDEST = 1e-3  # below it float32 logits overflow; 0 itself takes the likeliest token
_BETWEEN = "\n--------\n"


class Sampling(NamedTuple):
    """How tokens are drawn; see `sample_logits`."""

    tokens: int = 200  # written after the prompt
    temperature: float = 0.8
    top_k: int | None = None
    top_p: float | None = None
    samples: int = 1  # continuations of the one prompt
    seed: int = 0


class Written(NamedTuple):
    """What came of a prompt.

    texts:           the prompt and what follows it, one a sample
    tokens:          written, over all samples; those of the prompt do not count
    seconds:         of reading the prompt and writing them
    compile_seconds: before that
    """

    texts: list[str]
    tokens: int
    seconds: float
    compile_seconds: float


def show(run_dir: Path, prompt: str, sampling: Sampling) -> None:
    """Prints the texts to stdout, and to stderr how fast they were written."""
    written = write(run_dir, prompt, sampling)
    sys.stdout.write(_BETWEEN.join(written.texts) + "\n")
    sys.stdout.flush()
    rate = written.tokens / written.seconds
    print(
        f"{written.tokens} tokens in {written.seconds:.2f} s: {rate:,.0f} tokens/s, compiling not counted "
        f"({written.compile_seconds:.1f} s)",
        file=sys.stderr,
    )


def write(run_dir: Path, prompt: str, sampling: Sampling) -> Written:
    """Continues `prompt`, from the run folder alone.

    Up to the context that the run was trained with the key-value cache serves every token; beyond, the last tokens of
    that length are read anew for each. Raises UsageError for a run that writes no text, a prompt that is empty or
    longer than the context, or a number out of range.
    """
    _check(sampling)
    opened = evaluate.open_run(run_dir)
    _check_run(run_dir, opened)
    tokens = np.repeat(_tokens(prompt, opened.schema), sampling.samples, axis=0)
    model = build_model(evaluate.experiment_of(opened.settings), opened.schema)
    params, state = forward.load_weights(run_dir, model, tokens)
    sample = partial(
        generate,
        model,
        max_tokens=sampling.tokens,
        context=opened.schema.input_shape[0],
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
    )
    key = jax.random.key(sampling.seed)
    began = time.perf_counter()
    program = jax.jit(sample).lower(params, state, tokens, key=key).compile()
    compiled = time.perf_counter()
    rows = jax.block_until_ready(program(params, state, tokens, key=key))
    done = time.perf_counter()
    texts = [_text(row, opened.schema) for row in np.asarray(rows)]
    return Written(texts, sampling.tokens * sampling.samples, done - compiled, compiled - began)


def _check(sampling: Sampling) -> None:
    rules = (
        ("tokens", sampling.tokens >= 1, "a whole number of at least 1"),
        ("samples", sampling.samples >= 1, "a whole number of at least 1"),
        ("temperature", _is_temperature(sampling.temperature), f"0 for the likeliest token, or at least {_COLDEST}"),
        ("top-k", sampling.top_k is None or sampling.top_k >= 1, "a whole number of at least 1"),
        ("top-p", sampling.top_p is None or 0 < sampling.top_p <= 1, "a number above 0 and up to 1"),
        ("seed", 0 <= sampling.seed < 2**31, f"a whole number from 0 to {2**31 - 1}"),
    )
    for name, allowed, words in rules:
        if not allowed:
            given = getattr(sampling, name.replace("-", "_"))
            raise UsageError(f"--{name} {given} is not allowed; give {words}")


def _is_temperature(value: float) -> bool:
    return value == 0 or (value >= _COLDEST and math.isfinite(value))


def _check_run(run_dir: Path, opened: Opened) -> None:
    if opened.task_name != "language_modelling":
        raise UsageError(
            f"{run_dir} learned {opened.task_name} and writes no text; give a run of languagemodelling, "
            f"or use jaxnets predict {run_dir} FILE"
        )
    if opened.settings["model"]["variant"] == "custom":
        raise UsageError(
            f"{run_dir} holds a model of your own, whose source is not in the folder; "
            "call jaxnets.generate.generate with it from your code"
        )
    if opened.schema.vocabulary_size != _BYTES and opened.schema.separator is None:
        raise UsageError(
            f"{run_dir} has {opened.schema.vocabulary_size} tokens, which are no bytes; give a run on text"
        )


def _tokens(prompt: str, schema: Schema) -> np.ndarray:
    """(1 t) tokens of the prompt: bytes, those that are no UTF-8 as the shell gave them, or a document that begins."""
    content, context = os.fsencode(prompt), schema.input_shape[0]
    if not content:
        raise UsageError("--prompt is empty; give at least one character to continue")
    if schema.separator is None:
        tokens, unit = np.frombuffer(content, np.uint8).astype(np.int32), "bytes"
    else:
        (found,) = tokenizer(schema.tokenizer).encode([content.decode("utf-8", "replace")])
        tokens, unit = np.concatenate([[schema.separator], found]).astype(np.int32), "tokens"
    if len(tokens) > context:
        raise UsageError(
            f"--prompt has {len(tokens)} {unit}, but this run reads {context} at once; give its last {context} or fewer"
        )
    return tokens[None]


def _text(tokens: np.ndarray, schema: Schema) -> str:
    """Tokens as text, of a document to its end; what would steer a terminal is shown as the replacement character."""
    if schema.separator is None:
        text = bytes(tokens.astype(np.uint8)).decode("utf-8", "replace")
    else:
        ends = np.flatnonzero(tokens[1:] == schema.separator)
        text = tokenizer(schema.tokenizer).decode(tokens[1 : 1 + ends[0]] if ends.size else tokens[1:])
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in text)
