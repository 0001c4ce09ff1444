"""A student learns from a finished run: the loss, what the teacher sees, what it may not be, what a run promises."""

import dataclasses
import json
import shutil
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, rel_entr, softmax
from small import Said, assert_same_runs, experiment, log_of, loop

from jaxnets import config, data, evaluate, forward, teacher
from jaxnets.build import build, build_task, experiment_step
from jaxnets.config import Custom as Own
from jaxnets.data import Crop, Data, Mixup, preprocess
from jaxnets.errors import CheckpointError, ConfigError
from jaxnets.models import GPT, MLP, mlp
from jaxnets.optim import AdamW
from jaxnets.progress import Progress
from jaxnets.range_test import range_test
from jaxnets.rehearsal import rehearse
from jaxnets.run import run
from jaxnets.step import init_state
from jaxnets.tasks import (
    Classification,
    Distillation,
    LanguageModelling,
    Teacher,
    classification,
    distilled,
    language_modelling,
)

draw = np.random.default_rng(0)
QUIET = Progress(quiet=True)


def taught_by(folder, **changes):
    return Classification(distill=Distillation(teacher=str(folder), **changes))


def digits(model, folder, **changes):
    stages = {"data": Data(source="digits", batch_size=64), "optim": AdamW(lr=3e-3)}
    return run(experiment(model=model, **(stages | changes)), folder, progress=QUIET).run_dir


@pytest.fixture(scope="module")
def wine(tmp_path_factory):
    return run(experiment(), tmp_path_factory.mktemp("teacher") / "wine", progress=QUIET).run_dir


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    steps = loop(steps=400, log_every=200, eval_every=400, save_every=400, dispatch="block")
    return digits(MLP(widths=(64,)), tmp_path_factory.mktemp("teacher") / "digits", loop=steps)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    return digits(Own(model=mlp(10, widths=(16,))), tmp_path_factory.mktemp("teacher") / "own")


# ---------------------------------------------------------------- the loss


def linear(matrix):
    return Teacher(jnp.asarray(matrix, jnp.float32), lambda weights, inputs: inputs @ weights)


def test_the_loss_and_its_gradient_are_their_closed_forms():
    t, w = 3.0, 0.3
    inputs, labels, student = draw.normal(size=(6, 4)), draw.integers(0, 5, 6), draw.normal(size=(6, 5)) * 3
    matrix = draw.normal(size=(4, 5))
    batch = {"inputs": jnp.asarray(inputs, jnp.float32), "targets": jnp.asarray(labels), "weight": jnp.arange(6.0)}
    factors = (1.0, 2.0, 0.0, 1.0, 3.0)

    def loss(logits, source):
        task = distilled(classification(5, class_weights=factors), Distillation(temperature=t, weight=w), source)
        _, targets, weight = task.prepare(batch, train=True, key=None)
        return task.loss(logits, targets, weight)

    logits = jnp.asarray(student, jnp.float32)
    losses, weights = loss(logits, linear(matrix))
    soft, said = softmax(inputs @ matrix / t, axis=1), softmax(student / t, axis=1)
    own = -log_softmax(student, axis=1)[np.arange(6), labels]
    np.testing.assert_allclose(losses, (1 - w) * own + w * t**2 * rel_entr(soft, said).sum(1), rtol=1e-5)
    np.testing.assert_allclose(weights, np.arange(6) * np.asarray(factors)[labels], rtol=1e-6)

    whole = lambda logits, source: loss(logits, source)[0].sum()  # noqa: E731
    gradient, of_teacher = jax.grad(whole, argnums=(0, 1))(logits, linear(matrix))
    expected = (1 - w) * (softmax(student, axis=1) - np.eye(5)[labels]) + w * t * (said - soft)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)
    assert not np.any(of_teacher.weights)


def test_tokens_are_taught_at_every_position_and_evaluation_is_the_tasks_own():
    tokens = jnp.asarray(draw.integers(0, 7, (3, 5)))
    table, student = draw.normal(size=(7, 7)), draw.normal(size=(3, 4, 7))
    source = Teacher(jnp.asarray(table, jnp.float32), lambda weights, inputs: weights[inputs])
    plain = language_modelling(7)
    task = distilled(plain, Distillation(temperature=2.0, weight=1.0), source)
    batch = {"inputs": tokens, "weight": jnp.ones(3)}
    _, targets, weight = task.prepare(batch, train=True, key=None)
    logits = jnp.asarray(student, jnp.float32)
    soft = softmax(table[np.asarray(tokens)[:, :-1]] / 2, axis=-1)
    apart = rel_entr(soft, softmax(student / 2, axis=-1)).sum(-1)
    np.testing.assert_allclose(task.loss(logits, targets, weight)[0], 4 * apart, rtol=1e-4, atol=1e-5)
    found = task.metrics["teacher_kl"]
    assert found.result(found.update(logits, targets, weight)) == pytest.approx(apart.mean(), rel=1e-4)
    for train in (False, True):  # what is measured beside the loss never depends on the teacher
        _, own, mass = task.prepare(batch, train=train, key=None)
        sums = task.metrics["nll"].update(logits, own, mass)
        assert float(sums["total"]) == float(plain.metrics["nll"].update(logits, tokens[:, 1:], mass)["total"])
    _, own, mass = task.prepare(batch, train=False, key=None)
    assert np.array_equal(task.loss(logits, own, mass)[0], plain.loss(logits, own, mass)[0])


# ---------------------------------------------------------------- what the teacher sees


@pytest.mark.parametrize("kind", ["good", "own"])
def test_a_teacher_says_of_a_students_inputs_what_its_run_says_of_the_raw_ones(kind, request):
    """Though the student standardises by the moments of another split, and lanes may stand before the batch."""
    folder = request.getfixturevalue(kind)
    one = experiment(data=Data(source="digits", test=0.8, split_seed=5), task=taught_by(folder))
    dataset = data.load(one.data)
    raw = dataset.splits["test"].arrays["inputs"][:32]
    expected = np.asarray(forward.load(folder)(raw))
    source = teacher.load(one, dataset.schema)
    inputs = preprocess(dataset.schema, raw)
    assert dataset.schema.input_mean != evaluate.read_run(folder)[1].input_mean
    np.testing.assert_allclose(jax.jit(source)(inputs), expected, rtol=1e-4, atol=1e-4)
    lanes = jax.jit(jax.vmap(source))(inputs.reshape(4, 8, *inputs.shape[1:]))
    np.testing.assert_allclose(lanes.reshape(expected.shape), expected, rtol=1e-4, atol=1e-4)
    assert "another split" in source.words
    assert "another split" not in teacher.load(dataclasses.replace(one, data=Data()), data.load(Data()).schema).words


def test_it_sees_what_the_student_sees_after_augmentation(wine):
    one = experiment(data=Data(source="wine", batch_size=16, augment=(Mixup(alpha=1.0),)), task=taught_by(wine))
    dataset = data.load(one.data)
    source = teacher.load(one, dataset.schema)
    batch = jax.tree.map(jnp.asarray, batch_of(dataset, 0, 16))
    inputs, targets, _ = build(one, dataset.schema, source).task.prepare(batch, train=True, key=jax.random.key(3))
    assert not np.allclose(inputs, preprocess(dataset.schema, batch["inputs"]))
    assert np.array_equal(targets.logits, source(inputs))


# ---------------------------------------------------------------- the step


def batch_of(dataset, number, size):
    split = dataset.splits["train"]
    ids = data.order(0, number, batch_size=size, length=split.length)
    return data.gather(split.arrays, ids, window=None)


def started(one, dataset, key):
    return init_state(*build(one, dataset.schema), key=key, batch=batch_of(dataset, 0, one.data.batch_size))


def test_weights_temperature_and_weight_are_inputs_of_one_program(wine):
    dataset = data.load(experiment().data)
    source = teacher.load(experiment(task=taught_by(wine)), dataset.schema)
    silent = dataclasses.replace(source, weights=jax.tree.map(jnp.zeros_like, source.weights))
    traced, losses = [], []

    @jax.jit
    def step(state, batch, one, source):
        traced.append(1)
        return experiment_step(state, batch, one, schema=dataset.schema, teacher=source)[1]["metrics"]["loss"]["total"]

    for who, t, w in ((source, 2.0, 0.5), (source, 4.0, 0.5), (source, 2.0, 0.9), (silent, 2.0, 0.5)):
        one = experiment(task=taught_by(wine, temperature=t, weight=w))
        losses.append(float(step(started(one, dataset, jax.random.key(0)), batch_of(dataset, 0, 16), one, who)))
    assert len(traced) == 1 and len(set(losses)) == 4
    with pytest.raises(ConfigError, match=r"is not loaded; give teacher=jaxnets\.teacher\.load"):
        experiment_step(started(one, dataset, jax.random.key(0)), batch_of(dataset, 0, 16), one, schema=dataset.schema)


def test_two_temperatures_in_one_program_equal_two_runs(wine):
    dataset = data.load(experiment().data)
    pair = [experiment(task=taught_by(wine, temperature=t, weight=1.0)) for t in (1.0, 5.0)]
    source = teacher.load(pair[0], dataset.schema)
    step = partial(experiment_step, schema=dataset.schema, teacher=source)
    batch, state = batch_of(dataset, 0, 16), started(pair[0], dataset, jax.random.key(0))
    lanes = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *pair)
    states = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), state)
    together = jax.jit(jax.vmap(step, in_axes=(0, None, 0)))(states, batch, lanes)[1]["metrics"]["loss"]["total"]
    alone = [float(jax.jit(step)(state, batch, one)[1]["metrics"]["loss"]["total"]) for one in pair]
    np.testing.assert_allclose(together, alone, rtol=1e-4)
    assert abs(alone[0] - alone[1]) > 0.1 * alone[0]


def test_a_student_with_few_examples_is_better_with_a_teacher(good):
    """Measured on examples that neither has seen; six seeds are lanes of one program."""
    few = Data(source="digits", batch_size=32, test=0.9, valid=0.05, augment=(Crop(padding=1),))
    dataset = data.load(few)
    unseen = dataset.splits["test"]
    rows = np.isin(unseen.rows, np.load(good / "evaluation.npz")["row"])
    assert dataset.splits["train"].length < 100 and rows.sum() > 200
    inputs, targets = (unseen.arrays[name][rows] for name in ("inputs", "targets"))
    keys = jax.random.split(jax.random.key(0), 6)
    batches = [batch_of(dataset, number, 32) for number in range(200)]
    means = []
    for task in (Classification(), taught_by(good, weight=1.0)):
        one = experiment(data=few, model=MLP(widths=(32,)), task=task, optim=AdamW(lr=3e-3), loop=loop(steps=200))
        parts = build(one, dataset.schema)
        step = partial(experiment_step, schema=dataset.schema, teacher=teacher.load(one, dataset.schema))
        states = jax.vmap(lambda key, one=one: started(one, dataset, key))(keys)
        lanes = jax.jit(jax.vmap(step, in_axes=(0, None, None)))
        for batch in batches:
            states, _ = lanes(states, batch, one)
        said = jax.vmap(
            lambda params, parts=parts: parts.model.apply(params, {}, preprocess(dataset.schema, inputs))[0]
        )(states.params)
        means.append(float((np.asarray(said).argmax(-1) == targets).mean()))
    assert means[1] > means[0] + 0.03, means


# ---------------------------------------------------------------- a run


def test_a_weight_of_nothing_is_the_plain_run(wine, tmp_path):
    result = run(experiment(task=taught_by(wine, weight=0.0)), tmp_path / "run", progress=QUIET)
    for line, plain in zip(log_of(result.run_dir), log_of(wine), strict=True):
        kind = "train" if "train" in plain else "valid"
        found = {name: value for name, value in line[kind].items() if name != "teacher_kl"}
        assert found == pytest.approx(plain[kind], rel=1e-4, abs=1e-6)


def test_a_run_that_stopped_goes_on_bit_for_bit_and_then_needs_no_teacher(wine, tmp_path):
    folder = shutil.copytree(wine, tmp_path / "teacher")
    one = experiment(task=taught_by(folder))
    said = Said()
    whole = run(one, tmp_path / "whole", progress=said)
    assert any("learns from" in line and "mlp with 139 weights" in line for line in said.lines)
    assert all("teacher_kl" in line["train"] for line in log_of(tmp_path / "whole") if "train" in line)
    run(dataclasses.replace(one, loop=loop(limit_steps=20)), tmp_path / "run", progress=QUIET)
    assert json.loads((tmp_path / "run" / "teacher.json").read_text())["teacher"] == str(folder)
    run(one, tmp_path / "run", allow=["loop.limit_steps"], progress=QUIET)
    assert_same_runs(tmp_path / "run", tmp_path / "whole")
    shutil.rmtree(folder)
    assert run(one, tmp_path / "run", progress=QUIET).figures["test"] == whole.figures["test"]
    assert evaluate.test(tmp_path / "run")["nll"] == pytest.approx(whole.figures["test"]["nll"], rel=1e-6)


def test_a_teacher_that_has_changed_is_refused_unless_allowed(wine, tmp_path):
    folder = shutil.copytree(wine, tmp_path / "teacher")
    one = experiment(task=taught_by(folder))
    run(dataclasses.replace(one, loop=loop(limit_steps=20)), tmp_path / "run", progress=QUIET)
    before = (tmp_path / "run" / "teacher.json").read_bytes()
    shutil.rmtree(folder)
    run(experiment(seed=1, loop=loop(limit_steps=20)), folder, progress=QUIET)
    with pytest.raises(ConfigError, match=r"are not those that .*run began with.*--allow task\.distill\.teacher"):
        run(one, tmp_path / "run", allow=["loop.limit_steps"], progress=QUIET)
    assert (tmp_path / "run" / "teacher.json").read_bytes() == before
    run(one, tmp_path / "run", allow=["loop.limit_steps", "task.distill.teacher"], progress=QUIET)
    assert (tmp_path / "run" / "teacher.json").read_bytes() != before


@pytest.mark.slow
def test_a_language_model_teaches_another(tmp_path):
    text = tmp_path / "words.txt"
    text.write_bytes(b"the quick brown fox jumps over the lazy dog. " * 100)
    stages = {
        "data": Data(source=f"text:{text}", batch_size=4, context=8),
        "model": GPT(context=8, width=8, depth=1, heads=2),
        "loop": loop(steps=4, log_every=2, eval_every=4, save_every=2),
    }
    first = run(experiment(task=LanguageModelling(), **stages), tmp_path / "first", progress=QUIET).run_dir
    one = experiment(task=LanguageModelling(distill=Distillation(teacher=str(first), weight=1.0)), **stages)
    run(one, tmp_path / "second", progress=QUIET)
    line = log_of(tmp_path / "second")[0]["train"]
    assert line["loss"] == pytest.approx(4 * line["teacher_kl"], rel=1e-4) and line["teacher_kl"] > 0


def test_a_rehearsal_and_a_range_test_know_the_teacher(wine):
    one = experiment(task=taught_by(wine, weight=1.0))
    assert "teacher's weights          0.00 MiB" in rehearse(one) and "teacher" not in rehearse(experiment())
    plain, taught = (range_test(task, steps=10, low=1e-6, high=1e-5) for task in (experiment(), one))
    assert len(taught.losses) == 10 and not np.allclose(plain.losses, taught.losses)


# ---------------------------------------------------------------- what is refused


def changed(folder, name, **values):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def flipped(path):
    whole = bytearray(path.read_bytes())
    whole[-3] ^= 1
    path.write_bytes(whole)


REFUSED = {
    "no run": (shutil.rmtree, "' is not a run folder; give the folder of a finished run"),
    "not finished": (lambda f: (f / "result.json").unlink(), "has not finished; continue it with jaxnets train"),
    "other classes": (
        lambda f: changed(f, "schema.json", classes=["a", "b", "c"]),
        r"learned wine, with classes \(a, b, c\), but wine has \(.*give a run on wine or on data like it",
    ),
    "other features": (lambda f: changed(f, "schema.json", feature_names=["x"]), r"with features \(x\)"),
    "other shape": (lambda f: changed(f, "schema.json", input_shape=[8, 8, 1]), r"of shape \(8, 8, 1\), but wine has"),
    "other kind": (lambda f: changed(f, "schema.json", target_kind="real"), "with targets real, but wine has class"),
    "damaged": (lambda f: flipped(f / "weights.safetensors"), "weights.safetensors is not what was written"),
    "damaged program": (lambda f: flipped(f / "forward.stablehlo"), "forward.stablehlo is not what was written"),
    "damaged config": (lambda f: (f / "config.json").write_text("{"), "config.json"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_who_cannot_teach_is_told_before_anything_compiles(name, wine, tmp_path, monkeypatch):
    damage, words = REFUSED[name]
    damage(shutil.copytree(wine, tmp_path / "teacher"))
    monkeypatch.setattr("jaxnets.parallel.compile_step", lambda *_, **__: 1 / 0)
    error = CheckpointError if name.startswith("damaged") else ConfigError
    with pytest.raises(error, match=words):
        run(experiment(task=taught_by(tmp_path / "teacher")), tmp_path / "run", progress=QUIET)
    assert not [path for path in (tmp_path / "run").iterdir() if not path.name.startswith(".")]


def test_a_model_of_ones_own_that_is_damaged_or_older_is_told(own, tmp_path):
    one = experiment(data=Data(source="digits"), task=taught_by(tmp_path / "teacher"))
    schema = data.load(one.data).schema
    folder = shutil.copytree(own, tmp_path / "teacher")
    flipped(folder / "model.stablehlo")
    with pytest.raises(CheckpointError, match="model.stablehlo is not what was written"):
        teacher.load(one, schema)
    (folder / "model.stablehlo").unlink()
    with pytest.raises(CheckpointError, match="has no model.stablehlo.*train it again"):
        teacher.load(one, schema)


def test_the_words_of_a_config():
    assigned = config.assign(experiment(), [("task.distill", "distillation"), ("task.distill.teacher", "runs/x")])
    assert assigned.task.distill == Distillation(teacher="runs/x")
    assert config.from_json(config.to_json(assigned)) == assigned
    assert config.assign(assigned, [("task.distill", "none")]).task.distill is None
    measured = build_task(assigned, data.load(assigned.data).schema).metrics.keys()
    assert {"accuracy", "nll"} <= measured and "teacher_kl" not in measured
    for changes, words in (
        ({"teacher": ""}, r"task\.distill\.teacher is not given; give the folder of a finished run"),
        ({"temperature": 0.0}, r"task\.distill\.temperature 0\.0 is not allowed; give a number above 0"),
        ({"weight": 1.5}, r"task\.distill\.weight 1\.5 is not allowed; give a number from 0 to 1"),
    ):
        with pytest.raises(ConfigError, match=words):
            config.check(experiment(task=Classification(distill=Distillation(**{"teacher": "runs/x"} | changes))))
