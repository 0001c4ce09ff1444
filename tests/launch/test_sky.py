"""The task of SkyPilot by its published schema, what a shell makes of its scripts, and SkyPilot's commands."""

import json
import os
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml
from recorded import refused, stand_in

from jaxnets import cli
from jaxnets.launch import manifest, sky

SCHEMA = json.loads((Path(__file__).parent / "schemas" / "sky_task.json").read_text())
HOSTILE = ["$(touch owned)", "`touch owned`", "a b", "'\"", "; touch owned", "-x", "é", "$HOME", "line\nend", "no"]
PROGRAM = """#!/bin/sh
printf '%s\\0' "$@" > "$HOME/words"
env -0 > "$HOME/variables"
"""


def job(program=("train", "c.py"), accelerators="H100:8", **settings):
    return sky.Job("vit", tuple(program), accelerators, "code", **settings)


def read(given):
    """A task as SkyPilot takes it."""
    found = yaml.safe_load(manifest.to_yaml(sky.task(given)))
    jsonschema.validate(found, SCHEMA)
    return found


def started(home, script, python="jaxnets_env/bin/python", **variables):
    """The words and variables of the program that the run script of a node starts."""
    path = home / python
    path.parent.mkdir(parents=True)
    path.write_text(PROGRAM)
    path.chmod(0o755)
    given = {"PATH": os.defpath, "HOME": str(home), "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2", **variables}
    subprocess.run(["bash", "-c", script], check=True, env=given, cwd=home)
    words = (home / "words").read_bytes().decode().split("\0")[:-1]
    found = (line.partition("=") for line in (home / "variables").read_bytes().decode().split("\0")[:-1])
    return words, {name: value for name, _, value in found}


def test_a_task_asks_for_spot_machines_and_bounded_restarts():
    found = read(job(num_nodes=2, use_spot=True, retries=5, infra="gcp/us-central1", variables={"A": "$(id)"}))
    assert found["resources"] == {
        "infra": "gcp/us-central1",
        "accelerators": "H100:8",
        "use_spot": True,
        "job_recovery": {"max_restarts_on_errors": 5},
    }
    assert found["num_nodes"] == 2 and found["workdir"] == "code" and found["envs"] == {"A": "$(id)"}
    assert "jax[cuda12]" in found["setup"] and "jax[tpu]" in read(job(accelerators="tpu-v6e-8"))["setup"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(found | {"nodes": 2}, SCHEMA)


def test_words_arrive_as_they_were_typed_and_each_node_has_its_place(tmp_path):
    script = read(job(["train", *HOSTILE], num_nodes=2))["run"]
    words, variables = started(tmp_path, script, SKYPILOT_NUM_NODES="2", SKYPILOT_NODE_RANK="1")
    assert words[:3] == ["-m", "jaxnets.cli", "train"] and words[3 : 3 + len(HOSTILE)] == HOSTILE
    assert words[-6:] == ["--coordinator", "10.0.0.1:8476", "--processes", "2", "--index", "1"]
    assert variables["JAX_LOCAL_DEVICE_IDS"] == "0,1,2,3,4,5,6,7" and not (tmp_path / "owned").exists()


def test_a_script_finds_its_place_in_variables(tmp_path):
    script = read(job(["s.py", "a"], python="~/my env/python", accelerators="A100"))["run"]
    words, found = started(tmp_path, script, "my env/python", SKYPILOT_NUM_NODES="2", SKYPILOT_NODE_RANK="0")
    assert words == ["s.py", "a"] and found["OMPI_MCA_orte_hnp_uri"] == "0.0;tcp://10.0.0.1:8476"
    assert (found["OMPI_COMM_WORLD_RANK"], found["JAX_LOCAL_DEVICE_IDS"]) == ("0", "0")


def test_on_tpus_jax_finds_the_place(tmp_path):
    words, _ = started(tmp_path, read(job(accelerators="tpu-v6e-16"))["run"])
    assert words == ["-m", "jaxnets.cli", "train", "c.py"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--accelerators", "H100:0"], "H100:8 or tpu-v6e-8"),
        (["--accelerators", "$(id)"], "--accelerators '$(id)'"),
        (["--accelerators", "H100:8", "--infra", "a b"], "gcp/us-central1"),
        (["--accelerators", "H100:8", "--nodes", "0"], "--nodes 0"),
        (["--accelerators", "H100:8", "--retries", "-1"], "--retries -1"),
        (["--accelerators", "H100:8", "--name", "../x"], "small letters"),
        (["--accelerators", "H100:8", "--env", "A"], "NAME=VALUE"),
        (["--accelerators", "H100:8", "--setup", "none"], "--setup none is no file"),
        (["--accelerators", "H100:8", "--python=-c"], "--python '-c'"),
    ],
)
def test_what_is_not_allowed_is_refused(words, message, capfd):
    given = ["launch", "sky", "--name", "vit", *words, "--dry-run", "--", "train", "c.py"]
    assert message in refused(capfd, cli.main, given)


def test_a_launch_takes_the_commit_alone_and_is_followed_by_its_name(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    calls = stand_in(tmp_path, monkeypatch, "sky", "print('sky says', *argv[:2])\n")
    (tmp_path / "c.py").write_text("")
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for git in (["init", "-q"], ["add", "c.py"], [*who, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", *git], check=True)
    given = ["launch", "sky", "--name", "vit", "--accelerators", "H100:8", "--launch-dir", "kept"]
    assert cli.main([*given, "--dry-run", "--", "train", "c.py"]) == 0 and not calls()
    shown = capfd.readouterr().out
    assert cli.main([*given, "--", "train", "c.py"]) == 0, capfd.readouterr().err
    [call] = calls()
    assert call["argv"] == ["jobs", "launch", "--yes", "--detach-run", "--name=vit", "kept/vit.yaml"]
    assert shown == (tmp_path / "kept" / "vit.yaml").read_text() + f"# submitted by: sky {' '.join(call['argv'])}\n"
    assert [path.name for path in Path(yaml.safe_load(shown)["workdir"]).iterdir()] == ["c.py"]
    for verb in ("status", "logs", "stop"):
        assert cli.main(["launch", verb, "vit", "--launch-dir", "kept"]) == 0
    assert [" ".join(call["argv"]) for call in calls()[1:]] == [
        "jobs queue", "jobs logs --name=vit", "jobs cancel --yes --name=vit"
    ]  # fmt: skip
    assert capfd.readouterr().out.splitlines()[1:] == [
        "sky says jobs queue",
        "sky says jobs logs",
        "sky says jobs cancel",
    ]
