"""The benchmark of data runs: its smallest row, without torch, for a moment."""

import importlib
import sys
from pathlib import Path


def test_it_tells_batches_a_second_of_jaxnets_and_of_a_bare_loop(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "experiments"))
    monkeypatch.setenv("JAXNETS_CACHE", str(tmp_path))
    benchmark = importlib.import_module("data_benchmark")
    words = ["--only", "arrays", "--share", "0.01", "--no-torch", "--repeats", "1", "--seconds", "0.02"]
    monkeypatch.setattr(sys, "argv", ["data_benchmark.py", *words])
    benchmark.main()
    lines = capsys.readouterr().out.splitlines()
    rates = {line.split("|")[0].strip(): line.split("|")[1].split()[0] for line in lines if "batches/s" in line}
    assert rates.keys() == {"jaxnets", "bare"}
    assert all(float(rate) > 0 for rate in rates.values())
