"""A run from data to report, in one process: what it leaves, what it refuses, what it promises of its step."""

import gzip
import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file
from sklearn import metrics as reference
from small import Said, command, experiment, log_of, loop

from jaxnets import evaluate, rehearsal
from jaxnets.admission import admit
from jaxnets.build import build, experiment_step
from jaxnets.config import Custom as Own
from jaxnets.data import Data, Flip, gather, load, order
from jaxnets.errors import CheckpointError, ConfigError, DataError, UsageError
from jaxnets.loop import Loop, fit
from jaxnets.models import CNN, GPT, MLP, mlp
from jaxnets.optim import AdamW, Custom, Group, ScheduleFreeAdamW
from jaxnets.profiling import Window
from jaxnets.run import run
from jaxnets.step import init_state
from jaxnets.tasks import LanguageModelling, Regression


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "wine"
    return run(experiment(), folder)


def test_a_run_leaves_what_the_design_names(finished):
    names = {path.name for path in finished.run_dir.iterdir() if not path.name.startswith(".")}
    assert names == {
        "config.json", "schema.json", "env.json", "metrics.jsonl", "checkpoints", "forward.stablehlo",
        "forward.sha256", "weights.safetensors", "result.json", "report.html", "dispatch.json", "evaluation.npz",
    }  # fmt: skip
    result = json.loads((finished.run_dir / "result.json").read_text())
    assert result["steps"] == 40 and 0 <= result["test"]["accuracy"] <= 1 and result["seconds"] > 0
    assert result == finished.figures


def test_the_log_holds_train_and_valid_with_the_clock_apart(finished):
    lines = [json.loads(line) for line in (finished.run_dir / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "train" in line] == [10, 20, 30, 40]
    assert [line["step"] for line in lines if "valid" in line] == [20, 40]
    assert {"loss", "accuracy", "nll", "learning_rate", "grad_norm", "update_norm"} <= lines[0]["train"].keys()
    assert set(lines[0]["time"]) == {"seconds", "examples_per_second", "mfu"}


def test_the_figures_are_scikit_learns(finished):
    table = np.load(finished.run_dir / "evaluation.npz")
    accuracy = reference.accuracy_score(table["target"], table["class"])
    probabilities = table["probabilities"].astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)  # float32 sums to 1 within 1e-7 only
    likelihood = reference.log_loss(table["target"], probabilities, labels=[0, 1, 2])
    assert finished.figures["test"]["accuracy"] == pytest.approx(accuracy, abs=1e-12)
    assert finished.figures["test"]["nll"] == pytest.approx(likelihood, rel=1e-5)


def test_a_finished_run_returns_its_result_and_trains_no_more(finished):
    before = (finished.run_dir / "metrics.jsonl").read_bytes()
    assert run(experiment(), finished.run_dir).figures == finished.figures
    assert (finished.run_dir / "metrics.jsonl").read_bytes() == before


def test_testing_from_the_folder_gives_the_same_figures(finished):
    found = evaluate.test(finished.run_dir, "test")
    assert found.pop("examples") == 36
    assert found == pytest.approx(finished.figures["test"], rel=1e-6)
    with pytest.raises(ConfigError, match="use one of train, valid, test"):
        evaluate.test(finished.run_dir, "tset")


def test_the_same_experiment_gives_the_same_bits(finished, tmp_path):
    again = run(experiment(), tmp_path / "again")
    one, two = (load_file(folder / "weights.safetensors") for folder in (finished.run_dir, again.run_dir))
    assert all(one[name].tobytes() == two[name].tobytes() for name in one)
    assert log_of(finished.run_dir) == log_of(again.run_dir)


@pytest.mark.parametrize("form", ["bare", "block"])
def test_bare_and_block_give_the_same_bits(form, finished, tmp_path):
    other = run(experiment(loop=loop(dispatch=form)), tmp_path / form)
    length = json.loads((other.run_dir / "dispatch.json").read_text())["length"]
    assert (length == 1) == (form == "bare")
    one, two = (load_file(folder / "weights.safetensors") for folder in (finished.run_dir, other.run_dir))
    assert all(one[name].tobytes() == two[name].tobytes() for name in one)


def test_a_changed_config_is_refused_with_the_difference_unless_allowed(tmp_path):
    run(experiment(loop=loop(steps=20)), tmp_path / "run")
    longer = experiment(loop=loop(steps=30))
    with pytest.raises(ConfigError, match=r"loop.steps: 20 -> 30\n.*--allow loop.steps"):
        run(longer, tmp_path / "run")
    assert run(longer, tmp_path / "run", allow=["loop.steps"]).figures["steps"] == 30
    assert json.loads((tmp_path / "run" / "config.json").read_text())["loop"]["steps"] == 30


def test_a_run_from_before_a_field_of_the_config_is_the_same_run(tmp_path):
    run(experiment(), tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    stored = json.loads(path.read_text())
    del stored["loop"]["overfit_batch"], stored["optim"]["sam_rho"], stored["init_from"]
    path.write_text(json.dumps(stored))
    assert run(experiment(), tmp_path / "run").figures["steps"] == 40
    with pytest.raises(ConfigError, match=r"of another config:\n  seed: 0 -> 3\n"):
        run(experiment(seed=3), tmp_path / "run")


def test_a_run_that_was_extended_and_stopped_is_not_finished(tmp_path):
    run(experiment(loop=loop(steps=20)), tmp_path / "run")
    longer = experiment(loop=loop(steps=30))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxnets.run.drive.fit", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(longer, tmp_path / "run", allow=["loop.steps"])
    assert run(longer, tmp_path / "run").figures["steps"] == 30  # the same line again, now without --allow


def test_a_change_that_does_not_fit_what_was_saved_leaves_the_folder_as_it_was(tmp_path):
    run(experiment(loop=loop(steps=20)), tmp_path / "run")
    before = (tmp_path / "run" / "config.json").read_bytes()
    with pytest.raises(CheckpointError, match="does not fit"):
        run(experiment(model=MLP(widths=(9,)), loop=loop(steps=20)), tmp_path / "run", allow=["model"])
    assert (tmp_path / "run" / "config.json").read_bytes() == before
    with pytest.raises(UsageError, match="--allow loop.stepz is no path of the config; perhaps you meant loop.steps"):
        run(experiment(loop=loop(steps=30)), tmp_path / "run", allow=["loop.stepz"])


def test_another_monitor_forgets_what_was_best(tmp_path):
    run(experiment(loop=loop(steps=20, monitor="nll")), tmp_path / "run")
    other = experiment(loop=loop(steps=40, monitor="accuracy"))
    result = run(other, tmp_path / "run", allow=["loop"])
    best = max(line["valid"]["accuracy"] for line in log_of(tmp_path / "run") if "valid" in line and line["step"] > 20)
    assert result.figures["valid"]["accuracy"] == pytest.approx(best)


def test_lost_best_weights_are_named_and_the_last_are_tested(tmp_path):
    bad = experiment(optim=AdamW(lr=3.0), loop=loop(steps=60, eval_every=10, save_every=60, keep_last=1))
    result = run(bad, tmp_path / "run")
    best = result.figures["tested_step"]
    assert best < 60
    (tmp_path / "run" / "checkpoints" / f"{best:08d}" / "manifest.json").write_text("{}")
    (tmp_path / "run" / "result.json").unlink()
    said = Said()
    again = run(bad, tmp_path / "run", progress=said)
    assert again.figures["tested_step"] == 60
    assert any(f"step {best}, are lost" in line for line in said.lines)


def test_functions_that_changed_are_noticed(tmp_path):
    def own(rate):
        return experiment(optim=Custom(transformation=optax.sgd(rate)))

    run(own(0.1), tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    assert run(own(0.1), tmp_path / "run").figures["steps"] == 40
    (tmp_path / "run" / "result.json").unlink()
    with pytest.raises(ConfigError, match="function of your own.*--allow program"):
        run(own(0.2), tmp_path / "run")
    assert run(own(0.2), tmp_path / "run", allow=["program"]).figures["steps"] == 40


def test_frozen_groups_stay_and_the_rest_trains(tmp_path):
    groups = (Group(pattern="dense0", frozen=True),)
    result = run(experiment(optim=AdamW(lr=1e-2, groups=groups)), tmp_path / "run")
    weights = load_file(result.run_dir / "weights.safetensors")
    one = experiment()
    start = _start(
        one, load(one.data).schema, gather(load(one.data).splits["train"].arrays, np.arange(16), window=None)
    )
    for name, leaf in weights.items():
        layer, kind = name.split("'")[1::2]
        if kind == "kernel":
            assert np.array_equal(leaf, start.params[layer][kind]) == (layer == "dense0"), name


def test_a_result_names_its_data_and_a_lost_report_is_written_again(tmp_path):
    result = run(experiment(), tmp_path / "run")
    assert result.figures["data"] == {"source": "wine", "sha256": load(experiment().data).schema.fingerprint}
    (tmp_path / "run" / "report.html").unlink()
    run(experiment(), tmp_path / "run")
    assert (tmp_path / "run" / "report.html").is_file()


def test_damaged_files_of_a_run_are_one_sentence(tmp_path):
    run(experiment(), tmp_path / "run")
    for name in ("config.json", "schema.json", "weights.safetensors", "forward.stablehlo"):
        whole = (tmp_path / "run" / name).read_bytes()
        (tmp_path / "run" / name).write_bytes(bytes([whole[0] ^ 255]) + whole[1:])
        with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
            evaluate.test(tmp_path / "run")
        (tmp_path / "run" / name).write_bytes(whole)
    whole = (tmp_path / "run" / "weights.safetensors").read_bytes()
    for place in (whole.index(b'"sha256"') + 12, len(whole) - 3):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        (tmp_path / "run" / "weights.safetensors").write_bytes(flipped)
        with pytest.raises(CheckpointError, match="weights.safetensors is (not what was written|damaged)"):
            evaluate.test(tmp_path / "run")


def test_folders_that_are_no_runs_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        run(experiment(), tmp_path / "file")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match="holds no run"):
        run(experiment(), tmp_path / "other")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thesis.tex"]


def test_changed_data_is_refused_with_the_name_of_the_file(tmp_path):
    text = tmp_path / "words.txt"
    text.write_bytes(b"the quick brown fox jumps over the lazy dog. " * 100)
    tokens = experiment(
        data=Data(source=f"text:{text}", batch_size=4, context=8),
        model=GPT(context=8, width=8, depth=1, heads=2),
        task=LanguageModelling(),
        loop=Loop(steps=4, log_every=2, eval_every=4, save_every=2),
    )
    result = run(tokens, tmp_path / "run")
    assert result.figures["test"]["bits_per_byte"] == pytest.approx(result.figures["test"]["nll"] / np.log(2))
    (tmp_path / "run" / "result.json").unlink()
    text.write_bytes(text.read_bytes() + b"!")
    with pytest.raises(DataError, match="words.txt differs"):
        run(tokens, tmp_path / "run")


def test_what_does_not_fit_the_data_is_refused_before_anything_compiles(tmp_path):
    wrong = [
        (experiment(task=Regression()), "task regression does not fit wine"),
        (experiment(data=Data(source="wine", batch_size=1000)), "batch_size 1000 is more than the 124 examples"),
        (experiment(loop=loop(monitor="rmse")), "monitor 'rmse' is not measured; use one of accuracy, balanced_acc"),
        (experiment(data=Data(source="wines")), "perhaps you meant wine"),
        (
            experiment(data=Data(source="wine", batch_size=16, augment=(Flip(),))),
            "data.augment.0 flip takes images, but wine holds rows",
        ),
        (experiment(data=Data(source="wine", batch_size=16, context=8)), "data.context 8 says nothing about wine"),
        (
            experiment(data=Data(source="digits", batch_size=16), model=CNN(channels=(4, 4, 4, 4))),
            "model cnn does not fit digits.*cannot be halved 4 times",
        ),
        (experiment(model=Own(model=mlp(5))), "gives outputs of .*5.*, but wine needs 3"),
    ]
    for one, words in wrong:
        with pytest.raises((ConfigError, DataError), match=words):
            run(one, tmp_path / "run")
    assert not [path for path in (tmp_path / "run").iterdir() if not path.name.startswith(".")]


def test_early_stopping_and_the_best_weights(tmp_path):
    bad = experiment(optim=AdamW(lr=3.0), loop=loop(steps=400, eval_every=10, patience=2, monitor="loss"))
    result = run(bad, tmp_path / "run")
    valid = {line["step"]: line["valid"]["loss"] for line in log_of(tmp_path / "run") if "valid" in line}
    best = min(valid, key=lambda step: valid[step])
    assert result.figures["stopped_early"] and result.figures["steps"] < 400
    assert result.figures["tested_step"] == best
    assert result.figures["valid"]["loss"] == pytest.approx(valid[best], rel=1e-5)


def test_averages_are_what_is_tested(tmp_path):
    for name, optimizer in (("ema", AdamW(lr=1e-2, ema_decay=0.9)), ("free", ScheduleFreeAdamW())):
        result = run(experiment(optim=optimizer), tmp_path / name)
        valid = [line["valid"]["nll"] for line in log_of(tmp_path / name) if "valid" in line]
        assert result.figures["valid"]["nll"] == pytest.approx(min(valid), rel=1e-5)


def test_float16_trains_as_float32_does_and_continues(tmp_path):
    small = {"data": Data(source="digits", batch_size=64), "loop": loop(steps=30, save_every=10, keep_last=3)}
    found = {
        dtype: run(experiment(model=MLP(widths=(32,), dtype=dtype), **small), tmp_path / dtype).figures["test"]["nll"]
        for dtype in ("float32", "float16")
    }
    assert abs(found["float16"] - found["float32"]) < 0.01 * found["float32"]
    for step in (20, 30):
        shutil.rmtree(tmp_path / "float16" / "checkpoints" / f"{step:08d}")
    (tmp_path / "float16" / "result.json").unlink()
    again = run(experiment(model=MLP(widths=(32,), dtype="float16"), **small), tmp_path / "float16")
    assert again.figures["test"]["nll"] == found["float16"]
    assert log_of(tmp_path / "float16")[-2]["train"]["loss_scale"] == 32768


def test_the_loop_moves_nothing_that_it_was_not_told_to_move(finished, tmp_path, monkeypatch):
    def guarded(*words, **named):
        with jax.transfer_guard("disallow"):
            with pytest.raises(Exception, match="Disallowed host-to-device"):
                jnp.arange(3) + np.arange(3)  # the guard guards
            return fit(*words, **named)

    monkeypatch.setattr("jaxnets.run.drive.fit", guarded)
    again = run(experiment(), tmp_path / "run")
    assert again.figures["test"] == finished.figures["test"]


def test_a_profile_is_a_trace_of_its_steps_and_changes_no_bit(finished, tmp_path):
    said = Said()
    again = run(experiment(), tmp_path / "run", profile=Window(13, 17), progress=said)
    assert again.figures["test"] == finished.figures["test"]
    assert log_of(again.run_dir) == log_of(finished.run_dir)
    (trace,) = (again.run_dir / "profile").rglob("perfetto_trace.json.gz")
    names = [event.get("name", "") for event in json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]]
    assert sum(name == "PjRtCpuExecutable::Execute" or "ExecuteHelper" in name for name in names) >= 1
    assert any(f"trace of steps 13:17 in {trace}" in line for line in said.lines)
    with pytest.raises(ConfigError, match="--profile 38:50: the run goes from step 0 to 40"):
        run(experiment(), tmp_path / "other", profile=Window(38, 50))
    assert not (tmp_path / "other" / "config.json").exists()


def test_the_log_says_how_much_of_the_device_is_used(finished):
    lines = [json.loads(line) for line in (finished.run_dir / "metrics.jsonl").read_text().splitlines()]
    shares = [line["time"]["mfu"] for line in lines if "train" in line]
    assert len(shares) == 4 and all(0 < share < 1 for share in shares)


def test_flops_of_a_step_are_those_of_its_matrix_products():
    one = admit(experiment(model=MLP(widths=(64,))))
    found = rehearsal.compiled(one).flops
    products = 3 * 2 * 16 * (13 * 64 + 64 * 3) - 2 * 16 * 13 * 64  # forward and two backward; no gradient of the inputs
    assert products < found < 1.5 * products


def test_a_limited_run_is_the_beginning_of_the_whole(tmp_path):
    run(experiment(), tmp_path / "whole")
    result = run(experiment(loop=loop(limit_steps=20)), tmp_path / "short")
    assert result.figures["steps"] == 20
    whole = [line for line in log_of(tmp_path / "whole") if line["step"] <= 20]
    assert log_of(tmp_path / "short") == whole  # learning rates of the whole schedule included
    long = loop(limit_steps=100)
    assert run(experiment(loop=long), tmp_path / "long").figures["steps"] == 40


def test_one_batch_is_learnt_by_heart(tmp_path):
    one = experiment(model=MLP(widths=(32,)), loop=loop(steps=300, overfit_batch=True))
    run(one, tmp_path / "run")
    last = [line["train"] for line in log_of(tmp_path / "run") if "train" in line][-1]
    assert last["loss"] < 0.01 and last["accuracy"] == 1.0
    command("train", "configs/wine_mlp.py", "--run-dir", tmp_path / "cli", "--overfit-batch", "--limit-steps", "50")
    settings = json.loads((tmp_path / "cli" / "config.json").read_text())["loop"]
    assert settings["overfit_batch"] is True and settings["limit_steps"] == 50


# ---------------------------------------------------------------- the step that runs, sweeps and vmap share


@pytest.fixture(scope="module")
def wine():
    one = experiment()
    dataset = load(one.data)
    split = dataset.splits["train"]
    batches = [
        gather(split.arrays, order(0, number, batch_size=16, length=split.length), window=None) for number in range(5)
    ]
    return dataset.schema, batches


def _start(one, schema, batch):
    return init_state(*build(one, schema), key=jax.random.key(0), batch=batch)


def test_two_learning_rates_in_one_program_equal_two_runs(wine):
    schema, batches = wine
    pair = [experiment(optim=AdamW(lr=rate)) for rate in (1e-2, 3e-3)]
    alone = []
    for one in pair:
        state = _start(one, schema, batches[0])
        step = jax.jit(partial(experiment_step, schema=schema))
        for batch in batches:
            state, _ = step(state, batch, one)
        alone.append(state)
    lanes = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *pair)
    states = jax.vmap(lambda one: _start(one, schema, batches[0]))(lanes)
    together = jax.jit(jax.vmap(partial(experiment_step, schema=schema), in_axes=(0, None, 0)))
    for batch in batches:
        states, _ = together(states, batch, lanes)
    for index, state in enumerate(alone):
        for a, b in zip(jax.tree.leaves(states.params), jax.tree.leaves(state.params), strict=True):
            np.testing.assert_allclose(a[index], b, rtol=2e-4, atol=1e-5)
    assert not np.allclose(jax.tree.leaves(alone[0].params)[0], jax.tree.leaves(alone[1].params)[0])


def test_changing_a_number_never_compiles_again(wine):
    schema, batches = wine
    traced = []

    @jax.jit
    def step(state, batch, one):
        traced.append(1)
        return experiment_step(state, batch, one, schema=schema)

    for rate, decay, dropout in ((1e-2, 0.1, 0.1), (1e-3, 0.2, 0.3), (0.5, 0.0, 0.5)):
        one = experiment(optim=AdamW(lr=rate, weight_decay=decay), model=MLP(widths=(8,), dropout=dropout))
        step(_start(one, schema, batches[0]), batches[0], one)
    assert len(traced) == 1
    step(_start(experiment(model=MLP(widths=(8,))), schema, batches[0]), batches[0], experiment(model=MLP(widths=(8,))))
    assert len(traced) == 2  # None is another structure


def test_one_and_four_devices_agree(tmp_path):
    code = (
        "import sys, pathlib\nsys.path.insert(0, sys.argv[2])\n"
        "from small import experiment\nfrom jaxnets.parallel import Plan\nfrom jaxnets.run import run\n"
        "from jaxnets.progress import Progress\n"
        "import jax\nassert len(jax.devices()) == 4\n"
        "for n in (1, 4):\n"
        "    run(experiment(plan=Plan(data=n)), pathlib.Path(sys.argv[1]) / str(n), progress=Progress(quiet=True))\n"
    )
    environment = {"JAX_NUM_CPU_DEVICES": "4", "NPROC": "32"}
    import os

    subprocess.run(
        [sys.executable, "-c", code, tmp_path, Path(__file__).parent], check=True, env={**os.environ, **environment}
    )
    one, four = (load_file(tmp_path / n / "weights.safetensors") for n in ("1", "4"))
    for name in one:
        np.testing.assert_allclose(one[name], four[name], rtol=1e-4, atol=1e-5)
    for a, b in zip(log_of(tmp_path / "1"), log_of(tmp_path / "4"), strict=True):
        kind = "train" if "train" in a else "valid"
        assert a[kind] == pytest.approx(b[kind], rel=1e-4, abs=1e-6)


# ---------------------------------------------------------------- models of the user's own

OWN = {
    "linen": (
        "import flax.linen as nn\n"
        "class Net(nn.Module):\n"
        "    @nn.compact\n"
        "    def __call__(self, x, train):\n"
        "        x = nn.BatchNorm(use_running_average=not train)(nn.relu(nn.Dense(8)(x)))\n"
        "        return nn.Dense(3)(x)\n"
        "model = from_linen(Net())\n"
    ),
    "nnx": (
        "from flax import nnx\n"
        "class Net(nnx.Module):\n"
        "    def __init__(self, rngs):\n"
        "        self.a, self.b = nnx.Linear(13, 8, rngs=rngs), nnx.Linear(8, 3, rngs=rngs)\n"
        "        self.norm, self.drop = nnx.BatchNorm(8, rngs=rngs), nnx.Dropout(0.1, rngs=rngs)\n"
        "    def __call__(self, x):\n"
        "        return self.b(self.drop(self.norm(nnx.relu(self.a(x)))))\n"
        "model = from_nnx(Net)\n"
    ),
}


@pytest.mark.parametrize("kind", OWN)
def test_a_model_of_ones_own_is_tested_and_used_from_its_folder_alone(kind, tmp_path):
    config = tmp_path / "own.py"
    config.write_text(
        "from jaxnets import Custom, Data, Experiment, Loop, from_linen, from_nnx\nfrom jaxnets.optim import AdamW\n"
        + OWN[kind]
        + "experiment = Experiment(data=Data(source='wine', batch_size=16), model=Custom(model=model),\n"
        "    optim=AdamW(lr=1e-2), loop=Loop(steps=150, log_every=50, eval_every=50, save_every=50))\n"
    )
    code, out, errors = command("train", config, "--run-dir", tmp_path / "run")
    assert code == 0, errors
    accuracy = json.loads((tmp_path / "run" / "result.json").read_text())["test"]["accuracy"]
    assert accuracy > 0.9
    config.unlink()
    code, out, errors = command("test", tmp_path / "run")
    assert code == 0 and json.loads(out)["test"]["accuracy"] == pytest.approx(accuracy), errors
    dataset = load(Data(source="wine"))
    np.save(tmp_path / "rows.npy", dataset.splits["test"].arrays["inputs"])
    code, out, errors = command("predict", tmp_path / "run", tmp_path / "rows.npy")
    found = [json.loads(line)["class"] for line in out.splitlines()]
    right = [dataset.schema.classes[label] for label in dataset.splits["test"].arrays["targets"]]
    assert code == 0 and np.mean([a == b for a, b in zip(found, right, strict=True)]) == pytest.approx(accuracy), errors


def test_a_run_that_moves_to_another_environment_goes_on_with_another_program(tmp_path):
    run(experiment(), tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    for name, key, value in (("env.json", "python", "3.9.0"), ("dispatch.json", "program", "that of another version")):
        path = tmp_path / "run" / name
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.MonkeyPatch.context() as patch:  # stopped between the two files
        patch.setattr("jaxnets.run.drive.Drive._dispatch", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(experiment(), tmp_path / "run")
    assert run(experiment(), tmp_path / "run").figures["steps"] == 40
