"""The manifest of a JobSet by the published schema, what Kubernetes makes of its words, and a cluster that moves."""

import copy
import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from recorded import refused, stand_in

from jaxnets import cli
from jaxnets.launch import gke, kubernetes, manifest, tpu_slices

SCHEMA = json.loads((Path(__file__).parent / "schemas" / "jobset.json").read_text())
HOSTILE = ["$(id)", "$$(HOME)", "`id`", "a b", "'\"", "no", "1e3", "line\nend", "-x", "é", "$", "#", "{}"]
HOSTILE += ["--x=$(JOB_COMPLETION_INDEX)"]


def job(program=("train", "c.py"), **settings):
    return gke.Job("vit", tuple(program), "repository/jaxnets:1", **settings)


def read(text):
    """A manifest as kubectl takes it."""
    found = yaml.safe_load(text)
    jsonschema.validate(found, SCHEMA)
    return found


def pod(found):
    group = found["spec"]["replicatedJobs"][0]
    spec = group["template"]["spec"]
    return group, spec, spec["template"]["spec"], spec["template"]["spec"]["containers"][0]


def expand(text, values):
    """Kubernetes' own rule: $$ is a $, $(NAME) is a value or stays, any other $ stays."""
    return re.sub(
        r"\$(?:\$|\(([^)]*)\))", lambda found: "$" if found[1] is None else values.get(found[1], found[0]), text
    )


def started(found, index):
    """The words and variables of a container, as the kubelet of the pod with this index makes them."""
    *_, container = pod(found)
    values = {}
    for entry in container["env"]:
        if "valueFrom" in entry:
            assert "job-completion-index" in entry["valueFrom"]["fieldRef"]["fieldPath"]
            values[entry["name"]] = str(index)
        else:
            values[entry["name"]] = expand(entry["value"], values)  # in order: a later one is not seen
    return [expand(word, values) for word in container["command"]], values


@pytest.mark.parametrize(
    ("settings", "replicas", "hosts", "chips", "selector"),
    [
        ({"tpu": "v5e:2x4"}, 1, 2, 4, {"accelerator": "tpu-v5-lite-podslice", "topology": "2x4"}),
        ({"tpu": "v6e:1x1"}, 1, 1, 1, {"accelerator": "tpu-v6e-slice", "topology": "1x1"}),
        ({"tpu": "v5p:4x4x4", "slices": 3}, 3, 16, 4, {"accelerator": "tpu-v5p-slice", "topology": "4x4x4"}),
        ({"tpu": "tpu7x:4x8x12"}, 1, 96, 4, {"accelerator": "tpu7x", "topology": "4x8x12"}),
    ],
)
def test_tpu_slices(settings, replicas, hosts, chips, selector):
    found = read(manifest.to_yaml(gke.jobset(job(**settings))))
    group, spec, template, container = pod(found)
    assert group["replicas"] == replicas and spec["completionMode"] == "Indexed" and spec["backoffLimit"] == 0
    assert spec["parallelism"] == spec["completions"] == hosts
    assert template["nodeSelector"] == {f"cloud.google.com/gke-tpu-{name}": value for name, value in selector.items()}
    assert container["resources"] == {kind: {"google.com/tpu": chips} for kind in ("requests", "limits")}
    assert container["command"] == ["python3", "-m", "jaxnets.cli", "train", "c.py"]  # jax asks what GKE has written
    assert ("annotations" in found["metadata"]) == (hosts > 1)  # a node pool to each slice
    assert gke.processes(job(**settings)) == replicas * hosts


def test_gpus_are_told_their_place():
    settings = {"gpus_per_node": "nvidia-h100-80gb:8", "nodes": 2, "variables": {"A": "$(x)"}}
    found = read(manifest.to_yaml(gke.jobset(job(**settings))))
    _, spec, template, container = pod(found)
    assert spec["completions"] == 2 and container["resources"]["limits"] == {"nvidia.com/gpu": 8}
    assert template["nodeSelector"] == {"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"}
    assert found["spec"]["network"] == {"enableDNSHostnames": True, "subdomain": "vit"}
    words, values = started(found, 1)
    assert words[5:] == ["--coordinator", "vit-node-0-0.vit:8476", "--processes", "2", "--index", "1"]
    assert values["JAX_LOCAL_DEVICE_IDS"] == "0,1,2,3,4,5,6,7" and values["A"] == "$(x)"


def test_a_script_finds_its_place_in_variables():
    found = read(manifest.to_yaml(gke.jobset(job(["s.py", "a"], gpus_per_node="4", nodes=3))))
    words, values = started(found, 2)
    assert words == ["python3", "s.py", "a"] and "nodeSelector" not in pod(found)[2]
    assert (values["OMPI_COMM_WORLD_RANK"], values["OMPI_COMM_WORLD_SIZE"]) == ("2", "3")
    assert values["OMPI_MCA_orte_hnp_uri"] == "0.0;tcp://vit-node-0-0.vit:8476"


def test_what_can_be_taken_away_is_asked_for_and_restarts_are_bounded():
    found = read(manifest.to_yaml(gke.jobset(job(tpu="v6e:4x4", spot=True, retries=7, service_account="trainer"))))
    _, spec, template, _ = pod(found)
    assert template["nodeSelector"]["cloud.google.com/gke-spot"] == "true"
    assert template["tolerations"][0]["key"] == "cloud.google.com/gke-spot"
    assert template["serviceAccountName"] == "trainer" and template["terminationGracePeriodSeconds"] >= 120
    assert found["spec"]["failurePolicy"]["maxRestarts"] == 7
    final = spec["podFailurePolicy"]["rules"][0]  # a mistake of the user's, or numbers that are not finite
    assert final["action"] == "FailJob" and final["onExitCodes"]["values"] == [2, 5]
    assert found["spec"]["failurePolicy"]["rules"][0]["action"] == "FailJobSet"


@pytest.mark.parametrize("settings", [{"tpu": "v6e:4x4"}, {"gpus_per_node": "8"}])
def test_words_arrive_as_they_were_typed(settings):
    variables = {f"V{index}": word for index, word in enumerate(HOSTILE)}
    found = read(
        manifest.to_yaml(gke.jobset(job(["train", *HOSTILE], python="my python", variables=variables, **settings)))
    )
    words, values = started(found, 0)
    assert words[:4] == ["my python", "-m", "jaxnets.cli", "train"] and words[4 : 4 + len(HOSTILE)] == HOSTILE
    assert {name: values[name] for name in variables} == variables


def test_the_schema_refuses_what_is_not_there():
    good = gke.jobset(job(tpu="v6e:4x4"))
    for path, name in ((("spec",), "replicatedJob"), (("spec", "replicatedJobs", 0, "template", "spec"), "completion")):
        bad = inner = copy.deepcopy(good)
        for step in path:
            inner = inner[step]
        inner[name] = 1
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, SCHEMA)


@pytest.mark.parametrize(
    ("topology", "hosts"),
    [
        ("v4:2x2x1", 1),
        ("v4:4x4x4", 16),
        ("v5e:16x16", 64),
        ("v5p:8x12x28", 672),
        ("tpu7x:1x1x1", 1),
        ("tpu7x:16x24x24", 2304),
    ],
)
def test_hosts_of_a_topology(topology, hosts):
    assert tpu_slices.of(topology).hosts == hosts


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tpu", "v7:4x4"], "names no chip"),
        (["--tpu", "v6:4x4"], "perhaps you meant"),
        (["--tpu", "v6e:3x3"], "no topology of v6e; there are 1x1, 2x2"),
        (["--tpu", "v5p:1x1x1"], "no topology of v5p"),
        (["--tpu", "v5p:4x8x4"], "A ≤ B ≤ C"),
        (["--tpu", "tpu7x:16x24x28"], "9216 chips at most"),
        (["--tpu", "v6e:4x4", "--slices", "0"], "--slices 0"),
        (["--tpu", "v6e:4x4", "--nodes", "2"], "give --slices"),
        (["--gpus-per-node", "8", "--slices", "2"], "give --nodes"),
        (["--gpus-per-node", "8", "--tpu", "v6e:4x4"], "give one of --tpu"),
        ([], "give one of --tpu"),
        (["--gpus-per-node", "0"], "--gpus-per-node '0'"),
        (["--gpus-per-node", "a b:8"], "nvidia-h100-80gb:8"),
        (["--tpu", "v6e:4x4", "--retries", "-1"], "--retries -1"),
        (["--tpu", "v6e:4x4", "--image", "-x"], "--image"),
        (["--tpu", "v6e:4x4", "--image", "a b"], "--image 'a b'"),
        (["--tpu", "v6e:4x4", "--name", "a;b"], "small letters"),
        (["--tpu", "v6e:16x16", "--slices", "101", "--name", "a" * 49], "give 44 letters at most"),
        (["--tpu", "v6e:4x4", "--namespace", "a b"], "--namespace 'a b'"),
        (["--tpu", "v6e:4x4", "--service-account", "$(id)"], "--service-account"),
        (["--tpu", "v6e:4x4", "--env", "1A=b"], "NAME=VALUE"),
    ],
)
def test_what_is_not_allowed_is_refused(words, message, capfd):
    given = ["launch", "gke", "--name", "vit", "--image", "i", *words, "--dry-run", "--", "train", "c.py"]
    assert message in refused(capfd, cli.main, given)


# What a cluster does over time: each look at the JobSet is one step; `logs` tells which pods there were.
CLUSTER = """
steps = [("", 0, ["Pending"]), ("", 0, ["Running"] * 2), ("", 1, ["Running", "Pending"])]
steps += [("Completed", 1, ["Succeeded"] * 2)]
there, looks = here / "jobset", here / "looks"
words = [word for word in argv if not word.startswith("--")]
if words[:2] == ["get", "jobset"] and there.exists():
    with open(looks, "a") as file:
        file.write(".")
seen = len(looks.read_text()) if looks.exists() else 1
state, restarts, phases = steps[min(seen, len(steps)) - 1]
if words[0] == "apply":
    there.write_text(stdin)
    print("jobset.jobset.x-k8s.io/vit created")
elif not there.exists():
    if words[0] == "delete":
        sys.exit()
    sys.exit('Error from server (NotFound): jobsets.jobset.x-k8s.io "vit" not found')
elif words[:2] == ["get", "jobset"]:
    status = {"restarts": restarts} | ({"terminalState": state} if state else {})
    print(json.dumps({"status": status}))
elif words[:2] == ["get", "pods"]:
    waits = [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes have google.com/tpu"}]
    pods = [{"phase": phase} | ({"conditions": waits} if phase == "Pending" else {}) for phase in phases]
    print(json.dumps({"items": [{"status": status} for status in pods]}))
elif words[0] == "logs":
    print(f"[pod/vit-slice-0-0] attempt {restarts}")
elif words[0] == "delete":
    there.unlink()
    print('jobset.jobset.x-k8s.io "vit" deleted')
"""
PLACE = ["--context=gke_p_z_c", "--namespace=team"]
VERB = ["vit", "--launch-dir", "kept"]


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(kubernetes, "_POLL", 0.0)
    return stand_in(tmp_path, monkeypatch, "kubectl", CLUSTER)


def launch(*words):
    given = ["--name", "vit", "--image", "i", "--tpu", "v6e:2x4", "--context", "gke_p_z_c", "--namespace", "team"]
    return cli.main(["launch", "gke", *given, "--launch-dir", "kept", *words, "--", "train", "c.py", "$(id)"])


def test_a_launch_is_applied_followed_over_a_restart_and_deleted(cluster, capfd):
    assert launch() == 0 and cli.main(["launch", "status", *VERB]) == 0
    out = capfd.readouterr().out
    assert "vit is applied: 2 pods" in out and "vit Pending after 0 restarts; pods: 1 Pending" in out
    assert "  0/3 nodes have google.com/tpu" in out  # why it waits
    assert cli.main(["launch", "logs", *VERB]) == 0
    said = [f"[pod/vit-slice-0-0] attempt {restarts}" for restarts in (0, 1, 1)]
    assert capfd.readouterr().out.splitlines() == [*said, "vit Completed after 1 restarts"]
    assert cli.main(["launch", "stop", *VERB]) == 0 and cli.main(["launch", "status", *VERB]) == 0
    assert "told to end" in (out := capfd.readouterr().out) and "no such JobSet any more" in out
    calls = cluster()
    assert all(call["argv"][:2] == PLACE for call in calls)
    applied = next(call for call in calls if "apply" in call["argv"])
    assert applied["argv"][2:] == ["apply", "-f", "-"] and pod(read(applied["stdin"]))[3]["command"][-1] == "$$(id)"
    follows = [call["argv"][2:] for call in calls if "logs" in call["argv"]]
    assert "--max-log-requests=2" in follows[0] and "--tail=-1" in follows[0]
    assert not any("--since" in word for word in follows[0]) and all("--since-time=20" in f[-1] for f in follows[1:])


def test_a_name_that_is_taken_and_a_refusal_of_the_cluster(cluster, capfd, tmp_path):
    assert launch() == 0
    assert launch() == 2 and "there is a JobSet vit" in capfd.readouterr().err
    (tmp_path / "bin" / "kubectl").write_text("#!/bin/sh\necho 'error: You must be logged in' >&2\nexit 1\n")
    assert launch() == 1 and "You must be logged in" in capfd.readouterr().err


def test_a_dry_run_prints_the_manifest_and_calls_nothing(cluster, capfd):
    assert launch("--dry-run") == 0
    out = capfd.readouterr().out
    assert read(out)["metadata"]["name"] == "vit" and cluster() == []
    assert out.splitlines()[-1] == "# applied by: kubectl --context=gke_p_z_c --namespace=team apply -f -"


def test_without_kubectl(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert launch() == 2 and "kubectl is not on PATH" in capfd.readouterr().err
