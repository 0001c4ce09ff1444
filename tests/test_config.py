"""A mistake in a config is told before any device starts: exit code 2, the key, the remedy, nothing executed."""

import dataclasses
import json
import random
import string
import typing

import pytest
from small import CONFIG, command

from jaxnets import config, optim
from jaxnets.build import check_schema
from jaxnets.config import Experiment
from jaxnets.config.checks import leaves
from jaxnets.config.kinds import field_types, members_of
from jaxnets.config.ranges import RULES
from jaxnets.data import (
    AutoContrast,
    ColorJitter,
    Crop,
    CutMix,
    Data,
    Filter,
    Flip,
    Invert,
    Mixup,
    Noise,
    Posterize,
    RandAugment,
    RandomErasing,
    RepeatedAugmentation,
    Sharpness,
    Solarize,
    Speed,
    load,
)
from jaxnets.errors import ConfigError
from jaxnets.loop import Loop
from jaxnets.models import CNN, GPT, MLP, ResNet18, ViT
from jaxnets.optim import SGD, AdamW, Group
from jaxnets.schedules import WSD
from jaxnets.tasks import (
    Classification,
    GeneralizedCrossEntropy,
    LanguageModelling,
    Regression,
    SymmetricCrossEntropy,
)

GOOD = [
    Experiment(loop=Loop(steps=10)),
    Experiment(data=Data(augment=(Crop(padding=1), Mixup())), model=CNN(), loop=Loop(epochs=2.0)),
    Experiment(model=ResNet18(), optim=SGD(groups=(Group(pattern="kernel", lr_multiple=0.5),)), loop=Loop(steps=1)),
    Experiment(
        data=Data(augment=(RepeatedAugmentation(), RandAugment(moves=False), ColorJitter(), RandomErasing(), CutMix())),
        model=ResNet18(),
        optim=optim.Prodigy(),
        loop=Loop(steps=1),
    ),
    Experiment(model=ViT(), optim=optim.Muon(schedule=WSD()), loop=Loop(steps=1)),
    Experiment(data=Data(source="python_text", context=8), model=GPT(), task=LanguageModelling(), loop=Loop(steps=1)),
    Experiment(data=Data(source="diabetes"), task=Regression(loss="huber"), loop=Loop(steps=3, patience=2)),
    Experiment(task=Classification(loss=GeneralizedCrossEntropy(q=0.5)), loop=Loop(steps=3)),
    Experiment(task=Classification(class_weights=(1.0, 2.0)), loop=Loop(steps=3, keep_every=2)),
]


@pytest.mark.parametrize("experiment", GOOD)
def test_json_and_back_is_the_same(experiment):
    config.check(experiment)
    assert config.from_json(json.loads(config.dump(experiment))) == experiment


def test_every_number_has_a_rule():
    """A number without a rule is one whose nonsense would be trained on."""
    seen, missing = set(), set()

    def walk(kind):
        if kind in seen:
            return
        seen.add(kind)
        for field in dataclasses.fields(kind):
            for member in members_of(field_types(kind)[field.name]):
                inner = typing.get_args(member)[0] if typing.get_origin(member) is tuple else member
                for one in members_of(inner):
                    if dataclasses.is_dataclass(one):
                        walk(one)
                    elif one is float and field.name not in RULES:
                        missing.add(f"{kind.__name__}.{field.name}")

    walk(Experiment)
    assert not missing


def test_paths_set_leaves_and_switch_variants():
    changed = config.assign(
        GOOD[1],
        [
            ("optim", "sgd"), ("optim.lr", "0.5"), ("optim.momentum", "none"), ("optim.schedule", "wsd"),
            ("model", "resnet18"), ("data.augment.0.padding", "3"), ("loop.keep_best", "false"), ("loop.steps", "7"),
        ],
    )  # fmt: skip
    assert changed.optim == SGD(lr=0.5, momentum=None, schedule=WSD())
    assert changed.model == ResNet18() and changed.data.augment[0] == Crop(padding=3)
    assert changed.loop.keep_best is False and changed.loop.steps == 7


def test_augmentations_are_named_on_the_command_line():
    words = [("data.augment", "randaugment,flip,auto_contrast"), ("data.augment.0.magnitude", "4")]
    changed = config.assign(Experiment(loop=Loop(steps=1)), words)
    assert changed.data.augment == (RandAugment(magnitude=4.0), Flip(), AutoContrast())
    with pytest.raises(ConfigError, match=r"data.augment.0 'randaugmnt' is not allowed; .*perhaps you meant randaug"):
        config.assign(changed, [("data.augment", "randaugmnt")])


def test_a_switch_keeps_what_both_variants_share():
    changed = config.assign(Experiment(optim=AdamW(clip_norm=2.0, accumulate=4, sam_rho=0.1)), [("optim", "lion")])
    assert changed.optim == optim.Lion(clip_norm=2.0, accumulate=4, sam_rho=0.1)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("optim.lrr", "1", "perhaps you meant lr"),
        ("optim.momentum", "0.9", "adamw has no momentum, but sgd, rmsprop have; switch with --optim sgd"),
        ("optim", "adamv", "perhaps you meant adam"),
        ("optim", "radamm", "perhaps you meant radam"),
        ("optim.lr", "fast", "give a finite number"),
        ("optim.lr", "nan", "give a finite number"),
        ("optim.lr", "-1", "give a number above 0"),
        ("optim.sam_rho", "0", "give a number above 0"),
        ("data.batch_size", "0", "a whole number of at least 1"),
        ("data.batch_size", "12.5", "give a whole number"),
        ("data.valid", "0.9", "leave nothing to train on"),
        ("loop.nonfinite", "ignore", "use one of abort, skip, rollback"),
        ("loop.epochs", "3", "give exactly one of the two"),
        ("optim.accumulate", "7", "does not divide data.batch_size 128"),
        ("model", "gpt", "gpt goes with languagemodelling"),
        ("model.activation", "reluu", "perhaps you meant relu"),
        ("data.augment.0.padding", "1", "there are 0 elements"),
        ("seed.x", "1", "has no parts"),
        ("model.model", "1", "custom has"),
        ("task.loss", "generalized_cross_entropi", "perhaps you meant generalizedcrossentropy"),
        ("task.loss.q", "0.5", "crossentropy has no q, but generalizedcrossentropy has; switch with --task.loss"),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(path, value, words):
    with pytest.raises(ConfigError) as caught:
        config.check(config.assign(Experiment(loop=Loop(steps=10)), [(path, value)]))
    assert words in str(caught.value) and path.split(".")[0] in str(caught.value)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (Classification(loss=SymmetricCrossEntropy(), label_smoothing=0.1), "set it to none or use crossentropy"),
        (Classification(loss=SymmetricCrossEntropy(cross_weight=0.0, reverse_weight=0.0)), "give one of them above 0"),
        (Classification(loss=SymmetricCrossEntropy(log_zero=0.0)), "log_zero 0.0 is not allowed; give a number below"),
        (Classification(loss=GeneralizedCrossEntropy(q=0.0)), "q 0.0 is not allowed; give a number above 0"),
    ],
)
def test_losses_that_make_no_sense_are_refused(task, words):
    with pytest.raises(ConfigError, match=words):
        config.check(Experiment(task=task, loop=Loop(steps=1)))


def test_a_loss_is_chosen_by_its_name_with_or_without_underscores():
    for name in ("generalized_cross_entropy", "generalizedcrossentropy"):
        changed = config.assign(Experiment(), [("task.loss", name), ("task.loss.q", "0.5")])
        assert changed.task.loss == GeneralizedCrossEntropy(q=0.5)


# ---------------------------------------------------------------- mutations

JUNK = [
    "",
    "None!",
    "1e999",
    "nan",
    "-inf",
    "__import__('os').system('touch hacked')",
    "{}",
    "[",
    "0x",
    "é",
    "1 2",
    "-7",
]


def paths_of(experiment):
    return [path for path, _, _ in leaves(experiment, "")]


def mutated_settings(draw, experiment):
    """A command line's (path, value) with one thing that may be wrong."""
    path = draw.choice([p for p in paths_of(experiment) if p])
    kind = draw.choice(["typo", "junk", "deeper", "random"])
    if kind == "typo":
        place = draw.randrange(len(path))
        path = path[:place] + draw.choice(string.ascii_lowercase) * draw.randrange(2, 4) + path[place:]
        return [(path, "1")]
    if kind == "deeper":
        return [(f"{path}.{draw.choice(['x', '0', 'lr', '__class__'])}", "1")]
    if kind == "junk":
        return [(path, draw.choice(JUNK))]
    return [("".join(draw.choices(string.printable.strip(), k=8)), draw.choice(JUNK))]


def mutated_json(draw, experiment):
    """A config.json with one key renamed, removed in kind, or of a wrong type; and that key."""
    values = json.loads(config.dump(experiment))
    objects = [values]
    for one in objects:
        objects += [v for v in one.values() if isinstance(v, dict)]
    target = draw.choice(objects)
    key = draw.choice(list(target))
    kind = draw.choice(["rename", "type", "variant"])
    if kind == "rename":
        target[key + draw.choice("xyz_")] = target.pop(key)
    elif kind == "variant":
        target["variant"] = draw.choice(["", "os.system", 3, None, "__builtins__"])
    else:
        target[key] = draw.choice([{"a": 1}, [[]], "é", True, float("inf"), -3.5])
    return values, key


def refused(change):
    """The ConfigError that a mutation leads to, or None if it was harmless: then it is a config like any other."""
    try:
        after = change()
        config.check(after)
    except ConfigError as error:
        return str(error)
    assert config.from_json(json.loads(config.dump(after))) == after
    return None


REMEDIES = ("use ", "give ", "perhaps", "it has", "set ", "switch", "must", "count", "change")


def test_980_mutations_are_refused_with_key_and_remedy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw, told = random.Random(0), 0
    while told < 980:
        experiment = draw.choice(GOOD)
        if told % 2:
            settings = mutated_settings(draw, experiment)
            keys = {settings[0][0], settings[0][0].split(".")[0]}
            error = refused(lambda one=experiment, pairs=settings: config.assign(one, pairs))
        else:
            values, mutated = mutated_json(draw, experiment)
            whole = {mutated, *config.difference(json.loads(config.dump(experiment)), values)}  # True in place of 1
            keys = {key.removesuffix(".variant") for key in whole} | {key.rsplit(".", 1)[-1] for key in whole}
            keys |= {key.partition(".0.")[0] for key in whole}  # a list of stages under another name
            error = refused(lambda given=values: config.from_json(given))
        if error is not None:
            told += 1
            assert any(key in error for key in keys) or error.startswith("the config"), (keys, error)
            assert any(word in error for word in REMEDIES), error
    assert not list(tmp_path.iterdir())  # nothing was executed


COMMANDS = [
    ["--optim.lrr", "1"], ["--optim.lr", "x"], ["--optim.lr"], ["--optim", "adamv"], ["--model", "cnnn"], ["junk"],
    ["--loop.epochs", "2"], ["--data.batch_size", "0"], ["--data.batch_size", "100000"], ["--data.source", "wines"],
    ["--loop.monitor", "rmse"], ["--task", "regression"], ["--model", "cnn"], ["--plan.data", "64"], ["--seed", "-1"],
    ["--optim.groups.0.frozen", "true"], ["--loop.steps", "none"], ["--model.widths", "a,b"], ["--allow"],
    ["--data.valid=2"],
]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_20_wrong_command_lines_exit_2_start_no_device_and_leave_nothing(words, tmp_path):
    (tmp_path / "config.py").write_text(CONFIG)
    started = {} if "--plan.data" in words else {"JAX_PLATFORMS": "no_such_platform"}  # starting one would be an error
    code, out, errors = command("train", tmp_path / "config.py", "--run-dir", tmp_path / "run", *words, **started)
    assert code == 2, errors
    assert "Traceback" not in errors and len(errors.strip().splitlines()) <= 3 and not out
    run_dir = tmp_path / "run"
    assert not run_dir.exists() or not [path for path in run_dir.iterdir() if not path.name.startswith(".")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1", "must end in experiment = Experiment"),
        ("raise ValueError('no')", "fails with ValueError: no"),
        ("import nothing_like_this", "fails with ModuleNotFoundError"),
        ("def f(:", "fails with SyntaxError"),
    ],
)
def test_a_config_file_that_is_none_is_named(text, words, tmp_path):
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(ConfigError, match=words):
        config.load(tmp_path / "bad.py")
    with pytest.raises(ConfigError, match="perhaps you meant .*bad.py"):
        config.load(tmp_path / "bda.py")


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ((Crop(), RepeatedAugmentation()), "must come first; give it as data.augment.0"),
        ((Speed(rate_change=1.0),), "data.augment.0.rate_change 1.0 is not allowed; give a number of at least 0 and"),
        ((Filter(points=1),), "data.augment.0.points 1 is not allowed; give a whole number of at least 2"),
        ((Noise(least_db=30.0), Noise(least_db=50.0)), "data.augment.1.least_db 50.0 is more than"),
        ((RepeatedAugmentation(times=3),), r"times 3 does not divide data.batch_size 128; use one of \[2, 4"),
        ((RandomErasing(smallest=0.3, largest=0.2),), "smallest 0.3 is more than data.augment.0.largest 0.2; give"),
        ((RandomErasing(aspect=0.0),), "aspect 0.0 is not allowed; give a number above 0 and at most 1"),
        ((ColorJitter(hue=0.6),), "hue 0.6 is not allowed; give a number from 0 to 0.5"),
        ((ColorJitter(contrast=1.5),), "contrast 1.5 is not allowed; give a number from 0 to 1"),
        ((Posterize(bits=9),), "data.augment.0.bits 9 is not allowed; give a whole number from 1 to 8"),
        ((Posterize(bits=2.5),), "data.augment.0.bits 2.5 is not allowed; give a whole number"),
        ((Solarize(threshold=257.0),), "threshold 257.0 is not allowed; give a number from 0 to 256"),
        ((Flip(), Sharpness(change=1.1)), "data.augment.1.change 1.1 is not allowed; give a number from 0 to 1"),
        ((Invert(probability=-0.1),), "probability -0.1 is not allowed; give a number from 0 to 1"),
        ((RandAugment(magnitude=11.0),), "data.augment.0.magnitude 11.0 is not allowed; give a number from 0 to 10"),
        ((RandAugment(operations=0),), "data.augment.0.operations 0 is not allowed; give a whole number of at least 1"),
    ],
)
def test_augmentations_that_make_no_sense_are_refused(stages, words):
    with pytest.raises(ConfigError, match=words):
        config.check(Experiment(data=Data(augment=stages), loop=Loop(steps=1)))


@pytest.mark.parametrize(
    ("source", "stages", "words"),
    [
        ("wine", (Mixup(), CutMix()), "augment.1 cutmix takes images, but wine holds rows; use mixup"),
        ("digits", (ColorJitter(hue=0.1),), "hue 0.1 needs images of three channels, but digits has 1; set it to none"),
    ],
)
def test_augmentations_that_do_not_fit_the_data_are_refused(source, stages, words):
    experiment = Experiment(data=Data(source=source, augment=stages), loop=Loop(steps=1))
    with pytest.raises(ConfigError, match=words):
        check_schema(experiment, load(experiment.data).schema)


def test_values_in_a_config_file_are_checked_too():
    for wrong, words in (
        (Experiment(loop=Loop(steps=0)), "loop.steps 0 is not allowed"),
        (Experiment(optim=AdamW(lr="high"), loop=Loop(steps=1)), "optim.lr 'high'"),
        (Experiment(optim=MLP(), loop=Loop(steps=1)), "optim 'mlp' is not allowed"),
        (Experiment(model=MLP(widths=(0,)), loop=Loop(steps=1)), "model.widths 0"),
        (Experiment(model=MLP(widths=[64, 64]), loop=Loop(steps=1)), r"model.widths .* is a list; give a tuple"),
        (Experiment(task=Classification(class_weights=(0.0, 0.0)), loop=Loop(steps=1)), "leave nothing to learn"),
        (Experiment(model=GPT(width=12, heads=4), task=LanguageModelling(), loop=Loop(steps=1)), "even number"),
    ):
        with pytest.raises(ConfigError, match=words):
            config.check(wrong)
