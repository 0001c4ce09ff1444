"""What the devices of a compiled program tell each other: collectives and their bytes, read from its HLO text.

    bytes of a collective = bytes of its whole payload on one device × how often it runs

The payload is the larger of what goes in and what comes out: an all-gather's output, a reduce-scatter's input, an
all-reduce's gradient. What an interconnect carries follows from it: a ring of n devices sends payload × (n - 1) / n for
an all-gather or a reduce-scatter, and twice that for an all-reduce.

Four things in the text are easily read wrongly. A collective in a loop runs once a trip; a loop whose trip count is an
input of the program counts as one trip, so that a block of steps says what one step costs. An asynchronous collective
is written as a start and a done, or on a TPU as three copies in three fusions, all of one channel: it is counted once.
A TPU's reduce-scatter is a fusion named all-reduce-scatter: an all-reduce of which each device keeps its slice. And
dimensions of a TPU shape may be followed by tiles and memory spaces, which are no part of its size.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute", "collective-broadcast")

_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) (?:\(.*)?\{$")
_INSTRUCTION = re.compile(r"^(?:ROOT )?%?([\w.\-]+) = (.*)$")
_COLLECTIVE = re.compile(rf"(?:^|\s)(ragged-all-to-all|{'|'.join(KINDS)})(-start)?\(")
_SHAPE = re.compile(r"\b(pred|token|bf16|[suf]\d+\w*|c64|c128)\[([\d,<=\s]*)\]")
_BITS = {"pred": 8, "token": 0, "bf16": 16, "c64": 64, "c128": 128}
_CALLED = re.compile(
    r"\b(?:calls|to_apply|body|condition|true_computation|false_computation|called_computations|branch_computations)="
    r"(\{[^}]*\}|%?[\w.\-]+)"
)
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_CHANNEL = re.compile(r"\bchannel_id=(\d+)")


class Collective(NamedTuple):
    """One collective of a program: `bytes` of its payload on one device, run `times` times by groups of `devices`."""

    kind: str
    bytes: int
    times: int
    devices: int  # in one group; 0 = all, where the text does not say
    name: str  # what the source calls the operation that needed it


def bytes_by_kind(text: str) -> dict[str, int]:
    """Bytes of each kind of collective in one run of a compiled program, from `compiled.as_text()`.

    >>> bytes_by_kind('''
    ... ENTRY %main (p: f32[4]) -> f32[8] {
    ...   ROOT %all-gather = f32[8]{0} all-gather(%p), channel_id=1, replica_groups=[1,2]<=[2], dimensions={0}
    ... }''')
    {'all-gather': 32}
    """
    found: dict[str, int] = {}
    for one in collectives(text):
        found[one.kind] = found.get(one.kind, 0) + one.bytes * one.times
    return dict(sorted(found.items()))


def bytes_sent(text: str, *, devices: int) -> float:
    """Bytes that one device sends in one run of a compiled program for so many devices, all groups being rings.

    >>> bytes_sent('''
    ... ENTRY %main (p: f32[4]) -> f32[4] {
    ...   ROOT %all-reduce = f32[4]{0} all-reduce(%p), channel_id=1, replica_groups=[2,4]<=[8]
    ... }''', devices=8)
    24.0
    """
    total = 0.0
    for one in collectives(text):
        ring = one.devices or devices
        share = 1.0 if one.kind == "collective-permute" else (ring - 1) / ring
        total += one.bytes * one.times * share * (2 if one.kind == "all-reduce" else 1)
    return total


def collectives(text: str) -> list[Collective]:
    """Every collective of a compiled program that runs at least once, in the order of the text."""
    computations = dict(_computations(text))
    times = _times(computations)
    sizes = {name: _output(rest) for lines in computations.values() for name, rest in lines}
    found: dict[str, Collective] = {}
    for computation, lines in computations.items():
        for name, rest in lines:
            match = _COLLECTIVE.search(_without_strings(rest))
            if match is None or not times[computation]:
                continue
            kind = "all-to-all" if match[1] == "ragged-all-to-all" else match[1]
            if "all-reduce-scatter" in computation and kind == "all-reduce":
                kind = "reduce-scatter"
            out = sizes[name]
            operands = [sizes.get(operand, ()) for operand in _operands(rest, match.end())]
            payload = max(sum(out), sum(map(sum, operands)))
            if match[2]:  # a start gives its operands back beside its results
                payload = max(sum(out) - sum(map(sum, operands)), sum(map(sum, operands)))
            one = Collective(kind, payload, times[computation], _group(rest), _source(rest))
            channel = _CHANNEL.search(rest)
            key = f"{computation}/{name}"
            if channel and kind != "reduce-scatter":  # those of a TPU all have channel 1
                key = channel[0]
            if key not in found or found[key].bytes * found[key].times < one.bytes * one.times:
                found[key] = one
    return list(found.values())


Line = tuple[str, str]  # an instruction's name and the rest of it


def _computations(text: str) -> Iterator[tuple[str, list[Line]]]:
    """(name, instructions) of each computation; the entry's name is ENTRY."""
    name, lines = None, []
    for line in text.splitlines():
        stripped = line.strip()
        header = _COMPUTATION.match(stripped) if " = " not in stripped.split("(")[0] else None
        if header is not None and not stripped.startswith("HloModule"):
            name, lines = "ENTRY" if stripped.startswith("ENTRY") else header[1], []
        elif stripped == "}" and name is not None:
            yield name, lines
            name = None
        elif name is not None and (instruction := _INSTRUCTION.match(stripped)):
            lines.append((instruction[1], instruction[2]))


def _times(computations: dict[str, list[Line]]) -> dict[str, int]:
    """How often each computation runs in one run of the entry."""
    calls: dict[str, list[tuple[str, int]]] = {name: [] for name in computations}
    for caller, lines in computations.items():
        for _, rest in lines:
            bare = _without_strings(rest)
            trips = _trips(rest, computations) if re.search(r"\bwhile\(", bare) else 1
            for called in _called(bare):
                if called in calls:
                    calls[called].append((caller, trips))
    known: dict[str, int] = {}

    def times(name: str) -> int:
        if name not in known:
            known[name] = 1 if name == "ENTRY" else sum(count * times(caller) for caller, count in calls[name])
        return known[name]

    return {name: times(name) for name in computations}


def _trips(rest: str, computations: dict[str, list[Line]]) -> int:
    """Trips of a while: as told, or the one whole number that its condition compares with (it counts from 0)."""
    if found := _TRIPS.search(rest):
        return int(found[1])
    condition = re.search(r"\bcondition=%?([\w.\-]+)", rest)
    lines = computations.get(condition[1], []) if condition else []
    bounds = [found[1] for _, line in lines if (found := re.match(r"s32\[\]\S* constant\((\d+)\)", line))]
    return int(bounds[0]) if len(bounds) == 1 else 1


def _called(rest: str) -> Iterator[str]:
    for match in _CALLED.finditer(rest):
        for name in match[1].strip("{}").split(","):
            yield name.strip().lstrip("%")


def _without_strings(rest: str) -> str:
    """The instruction without what stands in quotes or is told of its source: those may hold any word."""
    return re.sub(r'"[^"]*"', '""', rest)


def _output(rest: str) -> tuple[int, ...]:
    """Bytes of each array that an instruction gives: its shapes stand before its name."""
    if rest.startswith("("):
        depth = 0
        for end, letter in enumerate(rest):
            depth += (letter == "(") - (letter == ")")
            if depth == 0:
                return tuple(_sizes(rest[:end]))
    return tuple(_sizes(rest.split(" ", 1)[0]))


def _sizes(shapes: str) -> Iterable[int]:
    for dtype, dims in _SHAPE.findall(shapes):
        bits = _BITS.get(dtype) or int((re.search(r"\d+", dtype) or [0])[0])
        yield math.prod(int(n.replace("<=", "")) for n in dims.split(",") if n.strip()) * bits // 8


def _operands(rest: str, start: int) -> list[str]:
    return re.findall(r"%([\w.\-]+)", rest[start : rest.index(")", start)])


def _group(rest: str) -> int:
    """Devices in one group, from any of the four ways in which groups are written; 0 if all are one."""
    if found := re.search(r"replica_groups=\{\{([\d,]*)\}", rest):
        return len(found[1].split(","))
    if found := re.search(r"replica_groups=\[\d+,(\d+)\]", rest):
        return int(found[1])
    if found := re.search(r"replica_groups=mesh\[(.*?)\].*?\{((?:'\w+',?)+)\}", rest):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", found[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'(\w+)'", found[2]))
    if found := re.search(r"source_target_pairs=\{(.*?)\}\}", rest):
        return found[1].count("{")
    return 0


def _source(rest: str) -> str:
    found = re.search(r'op_name="([^"]*)"', rest)
    return found[1] if found else ""
