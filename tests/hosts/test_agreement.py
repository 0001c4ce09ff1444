"""Several processes give the run of one: the same losses, data, checkpoints and refusals.

One launch of a script trains many small runs, since starting processes is what takes long.
"""

import json
import math
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from processes import assert_close
from small import CONFIG, Said, command, experiment, log_of, loop

from jaxnets import distributed
from jaxnets.config import Custom
from jaxnets.data import Data, orders
from jaxnets.errors import JaxnetsError
from jaxnets.models import GPT, MLP, mlp
from jaxnets.optim import AdamW
from jaxnets.parallel import Layout, Plan
from jaxnets.run import run
from jaxnets.tasks import LanguageModelling
from jaxnets.types import Model

STEPS, BATCH, TRAIN = 24, 16, 124  # of wine

SCRIPT = """
import sys
sys.path[:0] = sys.argv[3:]
from jaxnets import distributed
with distributed.processes(heartbeat=60):
    import test_agreement
    test_agreement.attempt_all(sys.argv[1], sys.argv[2])
"""


def short(*, limit=None, **changes):
    """An MLP on wine without random layers, since replicas have keys of their own."""
    how = {"steps": STEPS, "log_every": 6, "eval_every": 12, "save_every": 12, "dispatch": "bare"}
    stages = {"model": MLP(widths=(8,)), "loop": loop(**how, limit_steps=limit)}
    return experiment(**(stages | changes))


def spoiled():
    """An MLP that gives NaN once: in training, on the example with the most magnesium of the train split."""
    inner = mlp(3, widths=(8,))

    def apply(params, state, inputs, *, train=False, key=None, axis=None):
        outputs, state = inner.apply(params, state, inputs, train=train, key=key)
        return jnp.where(train & (inputs[:, 4:5] > 3.3), jnp.nan, outputs), state

    return short(model=Custom(model=Model(inner.init, apply)), loop=loop(steps=20, nonfinite="rollback", save_every=2))


def gpt(plan):
    return experiment(
        data=Data(source=f"text:{__file__}", batch_size=8, context=16),
        model=GPT(context=16, width=32, depth=2, heads=4),
        task=LanguageModelling(),
        loop=loop(steps=4, log_every=2, eval_every=4, save_every=4, monitor="loss", dispatch="bare"),
        plan=plan,
    )


def more():
    return {
        "pmap": ("pmap", short(plan=Plan(mode="pmap")), []),
        "rollback": ("rollback", spoiled(), []),
        "block": ("block", short(loop=loop(steps=STEPS, log_every=6, eval_every=12, dispatch="block")), []),
        "host": ("host", short(data=Data(source="wine", batch_size=BATCH, placement="host")), []),
        "before": ("changed", short(limit=6), []),
        "after": ("changed", short(optim=AdamW(lr=1e-3), limit=12), ["optim", "loop.limit_steps"]),
    }


def cases(kind):
    """{name: (folder, experiment, what may differ from the folder's)}, in the order in which they are tried."""
    if kind.startswith("to "):
        return {"chain": ("chain", short(plan=Plan(data=1, fsdp=-1), limit=int(kind[3:])), ["loop.limit_steps"])}
    if kind == "tensor":
        return {"tensor": ("tensor", gpt(Plan(data=1, tensor=-1)), []), "gpt": ("gpt", gpt(Plan()), [])}
    core = {
        "data": ("data", short(), []),
        "finished": ("data", short(), []),
        "refused": ("data", short(optim=AdamW(lr=1e-3)), []),
        "fsdp": ("fsdp", short(plan=Plan(data=1, fsdp=-1), limit=12), []),
    }
    return core if kind == "core" else core | more()


def attempt_all(kind, folder):
    """In each process: runs all cases, and notes which examples it fed and what was said."""
    for name, (run_dir, one, allow) in cases(kind).items():
        noted = attempt(one, Path(folder) / run_dir, allow)
        (Path(folder) / f"{name}.{distributed.index()}.json").write_text(json.dumps(noted))


def attempt(one, run_dir, allow):
    said, fed, place = Said(), [], Layout.place_own_feed

    def noting(layout, rows, size):  # rows are example ids: a data set that fits lies on the devices
        fed.extend(np.asarray(rows).tolist())
        return place(layout, rows, size)

    Layout.place_own_feed = noting
    try:
        run(one, run_dir, progress=said, allow=allow)
    except JaxnetsError as error:
        said.say(str(error))
    finally:
        Layout.place_own_feed = place
    return {"fed": fed, "said": said.lines}


def launch(kind, folder, *, processes, devices=1):
    """What each process noted: {case: [of each process]}."""
    (folder / "script.py").write_text(SCRIPT)
    here = Path(__file__).parent
    words = ("--processes", processes, "--devices-per-process", devices, "--", folder / "script.py", kind, folder)
    code, out, errors = command("launch", "local", *words, here, here.parent, JAX_PLATFORMS="cpu")
    assert code == 0, out + errors
    return {
        name: [json.loads((folder / f"{name}.{index}.json").read_text()) for index in range(processes)]
        for name in cases(kind)
    }


def fed_by_all(noted, steps):
    """The examples of the last `steps` batches, process by process; what was fed before only measured the step."""
    return np.concatenate([np.array(one["fed"][-steps:]) for one in noted], axis=1)


def assert_each_once(ids):
    flat = ids.reshape(-1)
    for epoch in range(len(flat) // TRAIN):
        assert sorted(flat[epoch * TRAIN : (epoch + 1) * TRAIN]) == list(range(TRAIN))
    assert np.array_equal(ids, orders(0, 0, len(ids), batch_size=BATCH, length=TRAIN))  # as one process reads them


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    run(short(), folder / "run", progress=Said())
    return folder / "run"


def check_core(folder, noted, one_process):
    assert_each_once(fed_by_all(noted["data"], STEPS))
    assert_close(folder / "data", one_process)
    assert all("is finished; here is its result" in one["said"][0] for one in noted["finished"])
    assert all("optim.lr: 0.01 -> 0.001" in one["said"][0] for one in noted["refused"])

    ids = fed_by_all(noted["fsdp"], 12)  # one process goes on with what several wrote in parts
    goes_on = attempt(short(plan=Plan(data=1, fsdp=-1)), folder / "fsdp", ["loop.limit_steps"])
    assert_each_once(np.concatenate([ids, np.array(goes_on["fed"][-12:])]))
    assert_close(folder / "fsdp", one_process)


def test_two_processes_give_the_run_of_one_which_goes_on_with_theirs(one_process, tmp_path):
    check_core(tmp_path, launch("core", tmp_path, processes=2), one_process)


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "devices"), [(2, 1), (4, 1), (2, 4)])
def test_every_plan_and_policy_is_that_of_one_process(processes, devices, one_process, tmp_path):
    noted = launch("many", tmp_path, processes=processes, devices=devices)
    check_core(tmp_path, noted, one_process)
    for name in ("pmap", "block", "host"):
        assert_close(tmp_path / name, one_process)
    assert all(any("at step 6" in line for line in one["said"]) for one in noted["after"])

    back = [line for line in noted["rollback"][0]["said"] if "passing over batch" in line]
    assert back and all([x for x in one["said"] if "passing over" in x] == back for one in noted["rollback"])
    figures = json.loads((tmp_path / "rollback" / "result.json").read_text())
    assert len(figures["passed_over_batches"]) == len(back) and math.isfinite(figures["test"]["loss"])


@pytest.mark.slow
def test_a_checkpoint_goes_from_two_processes_to_one_to_four_and_back(one_process, tmp_path):
    parts = []
    for limit, processes, devices in ((6, 2, 4), (12, 1, 1), (18, 4, 1), (STEPS, 2, 1)):
        parts.append(fed_by_all(launch(f"to {limit}", tmp_path, processes=processes, devices=devices)["chain"], 6))
    assert_each_once(np.concatenate(parts))
    one = replace(short(), loop=replace(short().loop, eval_every=6))
    run(one, tmp_path / "one", progress=Said())
    last = [log_of(folder)[-2:] for folder in (tmp_path / "chain", tmp_path / "one")]
    assert last[0][0]["train"] == pytest.approx(last[1][0]["train"], rel=1e-5)
    assert last[0][1]["valid"] == pytest.approx(last[1][1]["valid"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "devices"), [(2, 1), (2, 2)])
def test_a_tensor_plan_over_processes(processes, devices, tmp_path):
    launch("tensor", tmp_path, processes=processes, devices=devices)
    assert_close(tmp_path / "tensor", tmp_path / "gpt", valid=None)
    run(gpt(Plan()), tmp_path / "one", progress=Said())
    assert_close(tmp_path / "tensor", tmp_path / "one", valid=None)


HERE = "import os, sys\nindex = int(sys.argv[sys.argv.index('--index') + 1])\nos.chdir(f'{FOLDER}/{index}')\n"
TABLE = CONFIG.replace('Data(source="wine"', 'Data(source="table:t.csv", target="class"')
ROWS = [f"{i / 200:.3f},{i % 5 / 5:.3f},{'ab'[i % 7 > 3]}" for i in range(200)]


@pytest.mark.parametrize(
    ("code", "words", "config", "rows"),
    [
        (2, "optim.lr: 0.01 -> 0.02", CONFIG.replace("lr=1e-2", "lr=1e-2 * (1 + index)"), None),
        pytest.param(2, "optim.lr", CONFIG.replace("lr=1e-2", "lr=1e-2 - index"), None, marks=pytest.mark.slow),
        pytest.param(3, "t.csv", TABLE, None, marks=pytest.mark.slow),
        pytest.param(3, "is not that of process 0", TABLE, ROWS[1:], marks=pytest.mark.slow),
    ],
    ids=["another value", "bad value", "no data", "other data"],
)
def test_what_one_process_alone_has_wrong_ends_all_with_its_words(code, words, config, rows, tmp_path):
    for index, own in enumerate((ROWS, rows)):
        (tmp_path / str(index)).mkdir()
        if own is not None:
            (tmp_path / str(index) / "t.csv").write_text("\n".join(["x,y,class", *own]))
    (tmp_path / "config.py").write_text(HERE.replace("{FOLDER}", str(tmp_path)) + config)
    train = ("train", tmp_path / "config.py", "--run-dir", tmp_path / "run")
    found, out, errors = command("launch", "local", "--processes", 2, "--", *train, JAX_PLATFORMS="cpu")
    assert found == code and words in errors and f"jaxnets: process 1 of 2 ended with exit code {code}" in errors, out
    assert "process 1 of 2 ended: " in out and not (tmp_path / "run" / "config.json").exists()
