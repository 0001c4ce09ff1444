"""The README's table of recipes, from the line `table` of each docstring in configs/.

python experiments/readme_table.py          writes it into README.md
python experiments/readme_table.py --check  exit code 1 if README.md holds another one
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- recipes: written by experiments/readme_table.py -->\n", "<!-- end of recipes -->\n"


def row(path: Path) -> tuple[str, str, str]:
    """(file, data, what to expect) as the docstring of a recipe says."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    found = re.search(r"^table +(.+) \| (.+)$", text, re.MULTILINE)
    if found is None:
        raise SystemExit(f"{path} has no line 'table     DATA | EXPECTED' in its docstring; add it")
    return f"`{path.name}`", found[1], found[2]


def table(folder: Path = ROOT / "configs") -> str:
    """The rows: what needs no data of one's own first, then by name."""
    rows = sorted(map(row, folder.glob("*.py")), key=lambda cells: ("JAXNETS_DATA" in cells[1], cells[0]))
    lines = ["| recipe | data | expected |", "|---|---|---|", *(f"| {' | '.join(cells)} |" for cells in rows)]
    return "\n".join(lines) + "\n"


def with_table(text: str) -> str:
    """A README with the table between its two marks."""
    before, _, rest = text.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"README.md lacks the marks {BEGIN.strip()} and {END.strip()}; put them around the table")
    return before + BEGIN + table() + END + after


def main() -> int:
    readme = ROOT / "README.md"
    text = readme.read_text()
    wanted = with_table(text)
    if "--check" in sys.argv[1:]:
        return int(wanted != text)
    readme.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
