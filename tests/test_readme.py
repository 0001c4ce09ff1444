"""What the README says is so: its code runs, its tables name what is there. Its commands are run by `.ci/readme`."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()


def test_its_code_runs():
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


def test_every_recipe_is_in_its_table():
    named = set(re.findall(r"`(\w+\.py)`", TEXT))
    assert named == {path.name for path in (ROOT / "configs").glob("*.py")}


def test_the_table_of_recipes_is_the_one_that_their_docstrings_give():
    assert subprocess.run([sys.executable, ROOT / "experiments" / "readme_table.py", "--check"]).returncode == 0


def test_every_dependency_is_in_its_table():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    table = TEXT[TEXT.index("| dependency |") :].lower().replace("_", "-")
    for given in project["dependencies"]:
        name = re.match(r"[\w-]+", given)[0].lower().replace("_", "-")
        assert re.search(rf"\b{name}\b", table), f"{name} is not in the table of dependencies"
    for extra in project["optional-dependencies"]:
        assert f"`{extra}`" in table


def test_every_public_model_is_named():
    assert all(f"`{name}`" in TEXT for name in ("mlp", "cnn", "resnet9/18/34/50", "vit", "gpt"))
