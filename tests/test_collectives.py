"""Bytes per collective, from excerpts of what `compiled.as_text()` gave for TPU topologies and for CPUs."""

from pathlib import Path

import pytest

from jaxnets.collectives import bytes_by_kind, collectives

# tpu: v5e:2x4, matrices of 1024 × 2048: one asynchronous all-gather, written again where it is done; a reduce-scatter
# as a fused all-reduce; an all-reduce of a tuple. loops: six layers scanned in a loop over steps on a v5e,
# trip counts in the conditions. cpu_loop: the trip count is told. gpu: written by hand, with starts and dones.
TPU, LOOPS, CPU_LOOP, GPU = (
    (Path(__file__).parent / "programs" / f"{name}.hlo").read_text() for name in ("tpu", "loops", "cpu_loop", "gpu")
)
MATRIX = 1024 * 2048


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TPU, {"all-gather": 2 * MATRIX, "all-reduce": 2 * MATRIX + 4 * 256 * 2048, "reduce-scatter": 4 * MATRIX}),
        (LOOPS, {"all-gather": 6 * 1024 * 1024 * 2}),
        (CPU_LOOP, {"all-reduce": 7 * 8 * 4 * 4}),
        (GPU, {"all-gather": 4096, "all-reduce": 4096, "reduce-scatter": 4096, "collective-permute": 512}),
        ("", {}),
    ],
    ids=["tpu", "loops", "cpu", "gpu", "nothing"],
)  # fmt: skip
def test_bytes(text, expected):
    assert bytes_by_kind(text) == expected


def test_groups_times_and_names():
    found = {(one.kind, one.devices, one.times) for one in collectives(TPU)}
    assert found == {("all-gather", 4, 1), ("reduce-scatter", 4, 1), ("all-reduce", 2, 1), ("all-reduce", 8, 1)}
    assert [one.name for one in collectives(TPU) if one.kind == "all-gather"] == [
        "jit(step)/transpose(jvp())/dot_general"
    ]
    assert [(one.devices, one.times) for one in collectives(CPU_LOOP)] == [(4, 7)]
    assert collectives(LOOPS)[0].times == 6
    assert [one.devices for one in collectives(GPU)] == [8, 8, 8, 2]


def test_a_computation_that_nothing_calls_costs_nothing():
    assert bytes_by_kind(LOOPS.replace("body=%body.layers", "body=%other")) == {}
