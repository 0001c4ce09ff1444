"""`jaxnets train --dry-run` says what a run would be and leaves nothing."""

import jax
import pytest
from small import CONFIG, experiment

from jaxnets import cli
from jaxnets.data import Data, Flip
from jaxnets.errors import ConfigError
from jaxnets.models import MLP
from jaxnets.optim import AdamW, Linear
from jaxnets.rehearsal import rehearse


def test_it_shows_data_params_memory_and_schedule_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.py").write_text(CONFIG)
    assert cli.main(["train", "config.py", "--dry-run", "--run-dir", "run"]) == 0
    text = capsys.readouterr().out
    assert "wine: 124 train, 18 valid, 36 test" in text
    assert "inputs   float32 (16, 13)" in text
    assert "dense0/kernel           208  float32 (13, 16)" in text
    together = 13 * 16 + 16 + 16 * 3 + 3
    assert f"together                {together}" in text
    assert f"params               {together * 4 / 2**20:10.2f} MiB" in text
    assert "learning rate over 1000 steps (129.0 epochs)" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.py"]


def test_the_schedule_is_drawn_as_it_is():
    text = rehearse(experiment(optim=AdamW(lr=1e-2, schedule=Linear())))
    bars = next(line for line in text.splitlines() if "█" in line).strip()
    assert bars == "".join(sorted(bars, reverse=True)) and bars[0] == "█" and len(bars) == 40
    assert "0.01 at the first step, 0.01 at most, 0.00025 at the last" in text


def test_memory_grows_with_the_model():
    def together(width):
        text = rehearse(experiment(model=MLP(widths=(width,))))
        return float(next(line for line in text.splitlines() if line.endswith("MiB") and "together" in line).split()[1])

    assert together(2000) > 5 * together(100)


def test_what_a_run_refuses_it_refuses(tmp_path):
    with pytest.raises(ConfigError, match="takes images, but wine"):
        rehearse(experiment(data=Data(source="wine", batch_size=16, augment=(Flip(),))))
    assert jax.device_count() == 1
