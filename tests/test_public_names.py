"""The public names are a promise: adding or losing one is a decision, written here."""

import subprocess
import sys

import jaxnets

NAMES = {
    "Batch", "Custom", "Data", "Experiment", "Loop", "Metric", "Model", "Optimizer", "Plan", "Result", "Sink", "Task",
    "TrainState", "evaluation_params", "experiment_step", "from_linen", "from_nnx", "from_optax", "init_state", "load",
    "make_eval_step", "make_step", "predict", "test", "train",
}  # fmt: skip


def test_public_names_are_the_written_ones():
    assert set(jaxnets.__all__) == NAMES


def test_each_public_name_is_there():
    for name in NAMES:
        assert getattr(jaxnets, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    import pytest

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = jaxnets.nothing


def test_importing_and_help_load_nothing_heavy():
    code = (
        "import sys, jaxnets, jaxnets.cli\n"
        "try:\n    jaxnets.cli.main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'jax', 'numpy', 'flax', 'optax', 'tensorflow', 'torch', 'tensorflow_datasets', 'sklearn'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_training_rooms_never_import_tensorflow_or_torch():
    code = (
        "import sys, jaxnets.run, jaxnets.predictions\n"
        "assert not {'tensorflow', 'torch', 'sklearn', 'grain'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
