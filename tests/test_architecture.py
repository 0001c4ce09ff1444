"""Imports point one way: each room may use only the rooms before it (DESIGN: the way data flows)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "jaxnets"
# From first to last; rooms on one line do not know each other.
ORDER = (
    ("errors",),
    (
        "types",
        "files",
        "folders",
        "memory",
        "columns",
        "collectives",
        "axes",
        "distributed",
        "digest",
        "chips",
        "flops",
    ),
    ("shelf",),
    ("remote",),
    ("data", "models", "tasks", "schedules"),
    ("optim", "inspection"),
    ("step", "generate", "anatomy"),
    ("parallel", "slices", "metrics", "signals", "progress", "compilation", "profiling", "utilisation"),
    ("checkpoint", "loop", "tensorboard", "doctor"),
    ("config",),
    ("build", "forward"),
    ("evaluate", "placement"),
    ("teacher",),
    ("admission", "dispatch", "report", "warm_start"),
    ("draft", "nearest"),
    ("run", "predictions", "rehearsal", "range_test", "continuations", "catalogue", "contents", "watch"),
    ("batch_size", "series"),
    ("sweep",),
    ("forecast",),
    ("launch",),
    ("cli", "__init__"),
)
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            parts = node.module.split(".")
            if parts[0] == "jaxnets":
                found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("jaxnets.")}
    return found & RANK.keys()


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    own = room(path)
    assert own in RANK, f"{own} has no place in the order of rooms yet: give it one"
    late = {other for other in imported_rooms(path) if other != own and RANK[other] >= RANK[own]}
    assert not late, f"{own} imports {sorted(late)}, which come later or beside it"


def test_the_check_can_fail(tmp_path):
    file = tmp_path / "step.py"
    file.write_text("from jaxnets.run import run\nimport jaxnets.cli\nfrom jaxnets import config\n")
    assert imported_rooms(file) == {"run", "cli", "config"}
