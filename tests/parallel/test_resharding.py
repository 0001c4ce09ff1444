"""What 8 devices have saved any other number and any other plan restores, bit for bit, and goes on with."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file
from small import log_of
from virtual import counting, go_on, on_devices, save, train

from jaxnets import evaluate, report
from jaxnets.data import load, orders
from jaxnets.progress import Progress
from jaxnets.run import run

CHANGED = ("plan", "loop.limit_steps")
HALF = 16  # steps
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """A run with fsdp over 8 devices: all of it, and ended at step 16."""
    folder = tmp_path_factory.mktemp("runs")
    for name, limit in (("whole", None), ("half", HALF)):
        on_devices(8, train, run_dir=str(folder / name), plan="fsdp", limit=limit)
    return folder


@pytest.mark.parametrize(
    ("devices", "plan"),
    [(1, "data"), pytest.param(2, "fsdp", marks=slow), (4, "pmap"), pytest.param(8, "data 2 × fsdp", marks=slow)],
)
def test_a_run_goes_on_with_other_devices_in_another_mode(devices, plan, halves, tmp_path):
    """The model counts what it is trained on, so that what was fed is known, and not only what was asked for."""
    shutil.copytree(halves / "half", tmp_path / "run")
    if devices == 1:
        run(counting(plan), tmp_path / "run", allow=CHANGED, progress=Progress(quiet=True))
    else:
        on_devices(devices, train, run_dir=str(tmp_path / "run"), plan=plan, allow=CHANGED)
    for line, expected in zip(log_of(tmp_path / "run"), log_of(halves / "whole"), strict=True):
        assert line["step"] == expected["step"] and line.keys() == expected.keys()
        for split in {"train", "valid"} & line.keys():
            assert line[split] == pytest.approx(expected[split], rel=1e-4), line["step"]  # float32, in other orders
    seen = load_file(tmp_path / "run" / "weights.safetensors")
    (seen,) = [leaf for name, leaf in seen.items() if "seen" in name]
    epochs = json.loads((tmp_path / "run" / "result.json").read_text())["steps"] * 16 / len(seen)
    assert epochs.is_integer() and (seen == epochs).all()


def test_one_device_tests_uses_and_reports_what_eight_have_trained(halves):
    folder = halves / "whole"
    result = json.loads((folder / "result.json").read_text())
    found = evaluate.test(folder)
    assert {name: found[name] for name in result["test"]} == pytest.approx(result["test"], rel=1e-5)
    table = np.load(folder / "evaluation.npz")
    rows = load(counting("data").data).splits["test"].arrays["inputs"]
    predicted = evaluate.predict(folder, np.asarray(rows)[table["id"]])
    assert (predicted["class"] == table["class"]).all()
    (folder / "report.html").unlink()
    report.write(folder)
    assert (folder / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("plan", ["pmap", pytest.param("fsdp", marks=slow)])
def test_a_rollback_restores_what_is_divided(plan, tmp_path):
    length = load(counting("data").data).splits["train"].length
    spoiled = int(orders(0, 5, 1, batch_size=16, length=length)[0, 0])
    how = {"limit": HALF, "nonfinite": "rollback", "spoiled": spoiled}
    one = run(counting("data", **how), tmp_path / "one", progress=Progress(quiet=True)).figures
    found = on_devices(8, train, run_dir=str(tmp_path / "eight"), plan=plan, **how)
    assert found["passed_over_batches"] == one["passed_over_batches"] and 5 in found["passed_over_batches"]
    assert found["test"] == pytest.approx(one["test"], rel=1e-4)


@pytest.mark.parametrize(
    ("devices", "plans"),
    [
        pytest.param(1, ["one device"], marks=slow),
        pytest.param(2, ["data", "fsdp"], marks=slow),
        (4, ["data × tensor 2"]),
        pytest.param(4, ["fsdp", "pmap", "data × fsdp 2 × tensor 2"], marks=slow),
        pytest.param(8, ["data", "data 2 × fsdp", "data × tensor 2", "pmap"], marks=slow),
    ],
)
def test_a_state_is_bit_equal_wherever_it_is_restored(devices, plans, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "eight"
    if not folder.exists():
        saved = on_devices(8, save, folder=str(folder), model="gpt", plan="fsdp", steps=5)
        (folder / "saved.json").write_text(json.dumps(saved))
    saved = json.loads((folder / "saved.json").read_text())
    for plan, found in on_devices(devices, go_on, folder=str(folder), model="gpt", plans=plans, steps=5).items():
        assert found["digests"] == saved["digests"], plan
        for one, expected in zip(found["figures"], saved["figures"], strict=True):
            assert one == pytest.approx(expected, rel=2e-5), plan
