"""The plan's arithmetic and its refusals, which need no second device: what was given, what works instead."""

import jax
import pytest
from small import experiment
from virtual import MODELS

from jaxnets.admission import admit_data
from jaxnets.config import Experiment
from jaxnets.data import Data
from jaxnets.errors import ConfigError
from jaxnets.loop import Loop
from jaxnets.models import gpt, vit
from jaxnets.models.gpt import RULES
from jaxnets.models.vit import RULES as VIT_RULES
from jaxnets.optim import AdamW, path_of
from jaxnets.parallel import Plan, check_batch, check_tensor
from jaxnets.parallel.plan import sizes
from jaxnets.parallel.sharding import spec_of
from jaxnets.placement import layout_of
from jaxnets.run import run


@pytest.mark.parametrize(
    ("plan", "count", "expected"),
    [
        (Plan(), 8, (8, 1, 1)),
        (Plan(fsdp=4), 8, (2, 4, 1)),
        (Plan(data=1, fsdp=-1), 8, (1, 8, 1)),
        (Plan(data=2, fsdp=2, tensor=-1), 8, (2, 2, 2)),
        (Plan(data=3), 8, (3, 1, 1)),  # the others are left idle
        (Plan(tensor=3), 9, (3, 1, 3)),
        (Plan(mode="pmap"), 4, (4, 1, 1)),
        (Plan(), 1, (1, 1, 1)),
    ],
)
def test_axes_take_what_the_others_leave(plan, count, expected):
    assert sizes(plan, count) == expected


@pytest.mark.parametrize(
    ("plan", "count", "words"),
    [
        (Plan(fsdp=3), 8, "plan.fsdp 3 does not divide the 8 devices.*use 2 or 4 in all"),
        (Plan(data=2, fsdp=8), 8, "plan.data 2 × plan.fsdp 8 is more than the 8 devices.*use 8 in all"),
        (Plan(fsdp=4, tensor=4), 8, "is more than the 8 devices"),
        (Plan(data=-1, fsdp=-1), 8, "plan.data and plan.fsdp are -1.*give plan.data a number"),
        (Plan(data=0), 8, "plan.data 0 is not allowed; give at least 1, or -1"),
        (Plan(tensor=-2), 8, "plan.tensor -2 is not allowed"),
        (Plan(mode="pmap", fsdp=2), 8, "keeps whole replicas, but plan.fsdp is 2"),
    ],
)
def test_axes_that_do_not_fit_are_refused(plan, count, words):
    with pytest.raises(ConfigError, match=words):
        sizes(plan, count)


@pytest.mark.parametrize(
    ("size", "unit", "words"),
    [
        (100, {"devices": 8}, "data.batch_size 100 does not divide over 8 devices; use 96 or 104"),
        (3, {"devices": 8}, "use 8$"),
        (24, {"devices": 8, "micro-batches": 2}, "over 8 devices × 2 micro-batches; use 16 or 32"),
        (96, {"devices": 8}, None),
        (7, {"devices": 1}, None),
    ],
)
def test_a_batch_divides_or_is_refused_with_those_beside_it(size, unit, words):
    if words is None:
        return check_batch(size, unit=unit)
    with pytest.raises(ConfigError, match=words):
        check_batch(size, unit=unit)


SIZES = {"heads": 12, "kv_heads": 4, "mlp_width": 3072, "vocabulary": 256}


@pytest.mark.parametrize(
    ("tensor", "rules", "changed", "words"),
    [
        (4, RULES, {}, None),
        (1, (), {}, None),
        (2, (), {}, "plan.tensor 2: model any has no rules.*use plan.tensor 1, or plan.fsdp"),
        (8, RULES, {}, "model.heads 12 does not divide over plan.tensor 8; use plan.tensor 1 or 2 or 4, or"),
        (6, RULES, {}, "model.kv_heads 4 does not divide over plan.tensor 6"),
        (2, RULES, {"vocabulary": 257}, "the vocabulary 257 does not divide over plan.tensor 2; use plan.tensor 1, or"),
        (4, RULES, {"mlp_width": 3074}, "mlp_width 3074 .* use plan.tensor 1 or 2, or model.mlp_width 3072 or 3076"),
    ],
)  # fmt: skip
def test_tensor_devices_divide_what_the_rules_name_or_are_refused(tensor, rules, changed, words):
    if words is None:
        return check_tensor(tensor, rules, SIZES | changed, model="any")
    with pytest.raises(ConfigError, match=words):
        check_tensor(tensor, rules, SIZES | changed, model="any")


LAYER = "blocks/blocks/layer"


@pytest.mark.parametrize(
    ("path", "shape", "how", "expected"),
    [
        ("head/kernel", (512, 10), {"fsdp": 4}, ("fsdp", None)),
        ("head/bias", (10,), {"fsdp": 4}, (None,)),
        ("scale", (), {"fsdp": 4}, ()),
        (f"{LAYER}/norm/scale", (8, 9), {"fsdp": 8}, (None, None)),  # never by the number of layers
        (f"{LAYER}/mlp/in/kernel", (4, 64, 256), {"fsdp": 2, "tensor": 2}, (None, "fsdp", "tensor")),
        (f"{LAYER}/mlp/out/kernel", (4, 256, 64), {"fsdp": 2, "tensor": 2}, (None, "tensor", "fsdp")),
        (f"{LAYER}/attention/qkv/kernel", (4, 64, 192), {"fsdp": 1, "tensor": 2}, (None, None, "tensor")),
        (f"{LAYER}/attention/qkv/bias", (4, 192), {"fsdp": 2, "tensor": 2}, (None, "tensor")),
        (f"{LAYER}/attention/out/bias", (4, 64), {"fsdp": 1, "tensor": 2}, (None, None)),
        ("embed/embedding", (256, 64), {"fsdp": 2, "tensor": 2}, ("tensor", "fsdp")),
        ("head/kernel", (64, 256), {"fsdp": 1, "tensor": 2}, (None, "tensor")),
        ("ahead/kernel", (64, 256), {"fsdp": 1, "tensor": 2}, (None, None)),  # whole names alone
    ],
)
def test_where_a_leaf_is_divided(path, shape, how, expected):
    assert tuple(spec_of(path, shape, rules=RULES, **how)) == expected


def test_every_rule_fits_a_leaf_that_its_model_has():
    """A rule whose path nobody has would divide nothing and say nothing."""
    tokens, images = jax.ShapeDtypeStruct((1, 4), "int32"), jax.ShapeDtypeStruct((1, 8, 8, 1), "float32")
    models = [(gpt(8, context=4, width=4, depth=1, heads=2, tied=False), tokens, RULES)]
    models += [(vit(3, patch=4, width=4, depth=1, heads=2, mlp_width=8), images, VIT_RULES)]
    for model, inputs, rules in models:
        params, _ = jax.eval_shape(model.init, jax.random.key(0), inputs)
        paths = [f"/{path_of(path)}" for path, _ in jax.tree_util.tree_leaves_with_path(params)]
        for rule in rules:
            assert any(path.endswith(f"/{rule.path}") for path in paths), rule


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"plan": Plan(fsdp=2)}, "plan.fsdp 2 is more than the 1 device at hand; use 1 in all"),
        ({"plan": Plan(data=-1, tensor=-1)}, "only one axis can take what is left"),
        ({"plan": Plan(fsdp=0)}, "plan.fsdp 0 is not allowed"),
        ({"optim": AdamW(accumulate=3)}, "optim.accumulate 3 does not divide"),
    ],
)  # fmt: skip
def test_a_run_is_refused_before_anything_is_written_or_compiled(changes, words, tmp_path, monkeypatch):
    monkeypatch.setattr("jaxnets.parallel.compile_step", lambda *_, **__: pytest.fail("it compiles"))
    with pytest.raises(ConfigError, match=words):
        run(experiment(**changes), tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize(
    ("model", "changes", "words"),
    [
        ("mlp", {"plan": Plan(tensor=2)}, "model mlp has no rules for tensor parallelism, gpt and vit have"),
        ("resnet9", {"plan": Plan(tensor=2)}, "model resnet9 has no rules"),
        ("gpt", {"plan": Plan(tensor=4)}, "kv_heads 2 does not divide over plan.tensor 4; use plan.tensor 1 or 2"),
        ("vit", {"plan": Plan(tensor=4)}, "model.heads 2 does not divide over plan.tensor 4"),
        ("mlp", {"data": Data(batch_size=100)}, "batch_size 100 does not divide over 8 devices; use 96 or 104"),
        ("mlp", {"optim": AdamW(accumulate=8)}, "32 does not divide over 8 devices × 8 micro-batches .*; use 64"),
    ],
)  # fmt: skip
def test_eight_devices_refuse_what_does_not_divide(model, changes, words):
    """One device eight times: a plan is refused before it is asked for anything."""
    given = Experiment(**{"optim": AdamW(), "loop": Loop(steps=1)} | MODELS[model] | changes)
    with pytest.raises(ConfigError, match=words):
        layout_of(given, admit_data(given).schema, devices=jax.devices() * 8)
