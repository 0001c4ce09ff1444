"""Progress where a person sees it: in a notebook, by a real kernel."""

import re

import pytest

CELL = """
from jaxnets import Data, Experiment, Loop, train

experiment = Experiment(
    data=Data(source="wine", batch_size=16),
    loop=Loop(steps=300, log_every=1, eval_every=100, monitor="nll"),
)
result = train(experiment, "runs/wine")
"""


def test_a_notebook_shows_one_bar_that_moves(tmp_path):
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    kinds = []

    class Client(nbclient.NotebookClient):
        def process_message(self, message, cell, cell_index):
            kinds.append(message["header"]["msg_type"])
            return super().process_message(message, cell, cell_index)

    cells = [nbformat.v4.new_code_cell(code) for code in (CELL, "result.figures['steps']")]
    book = nbformat.v4.new_notebook(cells=cells)
    Client(book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()

    trained, asked = (cell.outputs for cell in book.cells)
    (bar,) = (one for one in trained if one.output_type == "display_data")
    assert '<progress value="300" max="300">' in bar.data["text/html"]
    assert re.match(r"step 300/300  loss \S+  .*valid accuracy \S+ ", bar.data["text/plain"])
    assert 1 <= kinds.count("update_display_data") < 100  # of 300 log lines
    said = "".join(one.text for one in trained if one.output_type == "stream")
    assert "300 steps of 16 examples" in said and "step 300/300" not in said and said.count("\n") < 8
    assert {one.output_type for one in trained} == {"display_data", "stream"}
    assert asked[0].data["text/plain"] == "300"
