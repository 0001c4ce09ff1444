"""What a finished run leaves: its weights, tested and sampled, its figures, its report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets import evaluate, forward, report
from jaxnets.admission import Admitted
from jaxnets.build import build_model
from jaxnets.files import write_atomically, write_json
from jaxnets.loop import Notes
from jaxnets.types import PyTree


class Result(NamedTuple):
    """What a run ends with; `figures` is the content of `result.json`."""

    run_dir: Path | str
    figures: dict[str, Any]


def leave(
    run_dir: Path, admitted: Admitted, params: PyTree, state: PyTree, *, notes: Notes, steps: int, tested_step: int
) -> dict[str, Any]:
    """Writes all that a finished run leaves; the figures of the result.

    params, state: on the host, of `tested_step`; the run itself ended at step `steps`
    """
    began = time.perf_counter()
    forward.write_weights(run_dir, params, state)
    figures: dict[str, Any] = {
        split: evaluate.test(run_dir, split, dataset=admitted.dataset) for split in ("valid", "test")
    }
    for split in ("valid", "test"):
        figures[f"{split}_examples"] = figures[split].pop("examples")
    figures |= {
        "steps": steps,
        "tested_step": tested_step,
        "seconds": notes.seconds,
        "evaluation_seconds": time.perf_counter() - began,
        "parameters": admitted.parameters,
        "data": {"source": admitted.schema.source, "sha256": admitted.schema.fingerprint},
        "task": evaluate.task_name(admitted.experiment),
        "skipped_steps": notes.skipped,
        "passed_over_batches": notes.passed_over,
        "stopped_early": notes.stopped_early,
    }
    _samples(run_dir, admitted, params, state)
    write_json(run_dir / "result.json", figures)
    report.write(run_dir)
    return figures


def _samples(run_dir: Path, admitted: Admitted, params: PyTree, state: PyTree) -> None:
    """`samples.txt`: what a language model of bytes writes when it continues the test text."""
    if "tokens" not in admitted.dataset.splits["test"].arrays or admitted.schema.vocabulary_size != 256:
        return
    from jaxnets.generate import generate

    model = build_model(admitted.experiment, admitted.schema)
    if model.cache is None:
        return
    context = admitted.experiment.data.context or 64
    tokens = np.asarray(admitted.dataset.splits["test"].arrays["tokens"][: max(1, context // 4)], np.int32)[None]
    written = generate(
        model, params, state, jnp.asarray(np.repeat(tokens, 4, axis=0)), key=jax.random.key(0),
        max_tokens=context - tokens.shape[1], temperature=0.8, context=context,
    )  # fmt: skip
    texts = [bytes(np.asarray(row, np.uint8)).decode("utf-8", "replace") for row in written]
    write_atomically(run_dir / "samples.txt", "\n\n--------\n\n".join(texts).encode())
