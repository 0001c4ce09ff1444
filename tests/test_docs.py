"""The guides in docs/ are programs: the blocks of a page run in order, and what they assert holds."""

import re
import shlex
from pathlib import Path

import pytest

from jaxnets import cli

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("page", ["research.md"])  # trackers.md has test_trackers.py
def test_the_blocks_of_a_page_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text, names = (DOCS / page).read_text(), {}
    for block in re.finditer(r"```python\n(.*?)```", text, re.S):
        before = text[: block.start(1)].count("\n")
        exec(compile("\n" * before + block[1], page, "exec"), names)  # so that an error names the line of the page
    assert names


def test_the_commands_of_the_page_on_data_run_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text, names = (DOCS / "data.md").read_text(), {}
    for kind, block in re.findall(r"```(python|console)\n(.*?)```", text, re.S):
        if kind == "python":
            exec(compile(block, "data.md", "exec"), names)
            continue
        for line in block.splitlines():
            assert cli.main(shlex.split(line.removeprefix("$ jaxnets "))) == 0, capsys.readouterr().err
    assert (tmp_path / "wines.html").is_file() and (tmp_path / "predictions.csv").is_file()


def test_links_of_the_pages_lead_somewhere():
    for page in DOCS.glob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (DOCS / target).exists(), f"{page.name} links to {target}"
