"""Which process of how many this one is: what a user gives, and what is found agrees with what jax will detect."""

import json
import os
import subprocess
import sys
import types

import jax
import pytest
from jax._src import clusters
from jax._src.clusters import cloud_tpu_cluster

from jaxnets import distributed
from jaxnets.errors import MissingExtra, UsageError
from jaxnets.launch.local import free_port

OPEN_MPI = {
    "OMPI_MCA_orte_hnp_uri": "8192.0;tcp://10.0.0.1,10.0.0.2:34911",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
}
SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "node[3-4]",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
}
KUBERNETES = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "1"}
GKE = {"TPU_WORKER_HOSTNAMES": "a,b", "TPU_WORKER_ID": "1"}
NAMES = {
    "OmpiCluster": "Open MPI",
    "SlurmCluster": "Slurm",
    "GkeTpuCluster": "the TPU's own metadata",
    "GceTpuCluster": "the TPU's own metadata",
    "K8sCluster": "Kubernetes",
}


@pytest.fixture
def world(monkeypatch):
    """Makes this process look as if it were elsewhere: its variables, its TPU chips, its metadata server."""

    def look(variables, chips=False, metadata=404):
        for name in [*OPEN_MPI, *SLURM, *KUBERNETES, *GKE, "JAX_PLATFORMS", "TPU_SKIP_MDS_QUERY"]:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        config = types.SimpleNamespace(load_incluster_config=lambda: None)
        client = types.SimpleNamespace(
            CoreV1Api=object, BatchV1Api=object, exceptions=types.SimpleNamespace(ApiException=OSError)
        )
        monkeypatch.setitem(sys.modules, "kubernetes", types.SimpleNamespace(config=config, client=client))
        monkeypatch.setattr(cloud_tpu_cluster, "running_in_cloud_tpu_vm", chips)
        monkeypatch.setattr(cloud_tpu_cluster, "get_metadata", lambda key: ("", metadata))

    return look


def of_jax():
    """The class of what jax would ask now, in its own order."""
    found = [one for one in clusters.ClusterEnv._cluster_types if not one.opt_in_only_method and one.is_env_present()]
    return found[0].__name__ if found else None


@pytest.mark.parametrize(
    ("name", "variables", "machine"),
    [
        (None, {}, {}),
        ("OmpiCluster", OPEN_MPI, {}),
        ("SlurmCluster", SLURM, {}),
        (None, {name: value for name, value in SLURM.items() if name != "SLURM_LOCALID"}, {}),
        (None, {name: value for name, value in SLURM.items() if name != "SLURM_STEP_NODELIST"}, {}),
        ("GkeTpuCluster", GKE, {"chips": True}),
        (None, GKE, {"chips": False}),
        ("GceTpuCluster", {}, {"chips": True, "metadata": 200}),
        (None, {"TPU_SKIP_MDS_QUERY": "1"}, {"chips": True, "metadata": 200}),
        ("K8sCluster", KUBERNETES, {}),
        ("K8sCluster", KUBERNETES, {"chips": True}),
        ("GkeTpuCluster", KUBERNETES | GKE, {"chips": True}),
        ("SlurmCluster", SLURM | KUBERNETES | GKE, {"chips": True}),
        ("OmpiCluster", OPEN_MPI | SLURM, {}),
    ],
)
def test_what_is_found_is_what_jax_detects(name, variables, machine, world):
    world(variables, **machine)
    assert of_jax() == name
    place = distributed.find(os.environ, tpu=distributed._has_tpu(os.environ))
    assert (place and place.found) == NAMES.get(name)


@pytest.mark.parametrize(
    ("variables", "machine"),
    [
        (SLURM | {"SLURM_NTASKS": "1"}, {}),
        (SLURM | {"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "1"}, {}),  # one task of a larger job
        (OPEN_MPI | {"OMPI_COMM_WORLD_SIZE": "1"}, {}),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, {}),  # a pod that is no part of an indexed job
        ({"JAX_PLATFORMS": "cpu"} | GKE, {"chips": True}),
    ],
)
def test_one_process_alone_is_never_started_though_jax_would(variables, machine, world):
    world(variables, **machine)
    assert of_jax() is not None
    assert distributed.find(os.environ, tpu=distributed._has_tpu(os.environ)) is None


def test_the_step_of_a_larger_slurm_job_counts_its_own_tasks():
    place = distributed.find(SLURM | {"SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "2"})
    assert (place.count, place.index, place.coordinator) == (2, 1, None)


def test_open_mpi_5_needs_an_address():
    """Its launcher gives no address, and jax has it from mpi4py alone, if at all."""
    five = {name: value for name, value in OPEN_MPI.items() if "orte" not in name}
    with pytest.raises(UsageError, match="JAX_COORDINATOR_ADDRESS"):
        distributed.find(five)
    place = distributed.find(five | {"JAX_COORDINATOR_ADDRESS": "10.0.0.1:5000"})
    assert place[:3] == ("10.0.0.1:5000", 4, 1)


def test_kubernetes_without_its_package_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    with pytest.raises(MissingExtra, match=r"jaxnets\[k8s\]"), distributed.processes(distributed.find(KUBERNETES)):
        pass


@pytest.mark.parametrize(
    ("variables", "device"),
    [
        ({}, None),
        (SLURM | {"SLURM_LOCALID": "3"}, 3),
        (OPEN_MPI, 1),
        (OPEN_MPI | {"JAX_LOCAL_DEVICE_IDS": "4,5"}, None),  # jax reads it
    ],
)
def test_a_place_that_is_given_whole_is_not_looked_for(variables, device, world, monkeypatch):
    """In a pod without a service account, jax's look at Kubernetes would fail."""
    world(KUBERNETES | variables)
    monkeypatch.setenv("JAX_LOCAL_DEVICE_IDS", variables.get("JAX_LOCAL_DEVICE_IDS", ""))
    told = {}
    monkeypatch.setattr(jax.distributed, "initialize", lambda *place, **how: told.update(how, place=place))
    distributed._start(distributed.given("a:1", 2, 1), heartbeat=5.0, wait=9.0)
    assert told["place"] == ("a:1", 2, 1) and told["cluster_detection_method"] == "deactivate"
    assert told["local_device_ids"] == device and told["heartbeat_timeout_seconds"] == 5
    distributed._start(distributed.find(SLURM), heartbeat=5.0, wait=9.0)
    assert told["place"] == (None, 2, 1) and told["cluster_detection_method"] is None


@pytest.mark.parametrize(
    "words",
    [("h:1", None, 0), (None, 2, None), ("h", 2, 0), ("h:x", 2, 0), ("h:1", 2, 2), ("h:1", 0, 0)],
)
def test_places_that_are_not_whole_are_refused(words):
    with pytest.raises(UsageError):
        distributed.given(*words)


SCRIPT = """
import json, os, sys
import jax
from jaxnets import distributed
with distributed.processes(heartbeat=20, wait=120):
    found = distributed.gather("who", [jax.process_index(), jax.process_count(), distributed.index()])
    if distributed.first():
        print(json.dumps(found))
"""


def variables_of(launcher, index, port):
    host, count, rank = "127.0.0.1", "2", str(index)
    if launcher == "Slurm":
        own = {"SLURM_JOB_ID": "1", "SLURM_STEP_NODELIST": host, "JAX_COORDINATOR_PORT": str(port)}
        return own | {"SLURM_NTASKS": count, "SLURM_PROCID": rank, "SLURM_LOCALID": rank}
    own = {"OMPI_COMM_WORLD_SIZE": count, "OMPI_COMM_WORLD_RANK": rank, "OMPI_COMM_WORLD_LOCAL_RANK": rank}
    if launcher == "Open MPI 5":
        return own | {"JAX_COORDINATOR_ADDRESS": f"{host}:{port}"}
    return own | {"OMPI_MCA_orte_hnp_uri": f"4096.0;tcp://{host}:34911", "JAX_COORDINATOR_PORT": str(port)}


@pytest.mark.parametrize("launcher", ["Slurm", "Open MPI", "Open MPI 5"])
def test_two_real_processes_find_each_other(launcher):
    port = free_port()
    started = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, **variables_of(launcher, index, port), "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    said = [process.communicate(timeout=180) for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert json.loads(said[0][0]) == [[0, 2, 0], [1, 2, 1]] and not said[1][0]
