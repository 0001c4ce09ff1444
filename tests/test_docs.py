"""The guides in docs/ are programs: the blocks of a page run in order, and what they assert holds."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("page", ["research.md"])  # trackers.md has test_trackers.py
def test_the_blocks_of_a_page_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text, names = (DOCS / page).read_text(), {}
    for block in re.finditer(r"```python\n(.*?)```", text, re.S):
        before = text[: block.start(1)].count("\n")
        exec(compile("\n" * before + block[1], page, "exec"), names)  # so that an error names the line of the page
    assert names


def test_links_of_the_pages_lead_somewhere():
    for page in DOCS.glob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (DOCS / target).exists(), f"{page.name} links to {target}"
