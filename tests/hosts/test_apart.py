"""Processes that work apart: what ends one of them is nothing to the others."""

import sys

from jaxnets.launch import processes
from jaxnets.launch.local import free_port

SCRIPT = """
import os, signal, sys, time
from jaxnets import distributed
from jaxnets.errors import DataError, UsageError

def refuse(words):
    raise UsageError(words)

index, heartbeat = INDEX, 3
with distributed.processes(distributed.Place("127.0.0.1:PORT", 3, index), heartbeat=heartbeat, apart=True):
    distributed.gather("begun")
    BODY
    print("done", flush=True)
"""
FAILS = """
    if index == 0:
        raise DataError("no such file")
    time.sleep(1 + 4 * (index - 1))
"""
DIES = """
    if index == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(2 * heartbeat)
    assert distributed.living() == {0, 2}
"""
ABSENT = """
    if index == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    distributed.gather("never")
"""
REFUSES = """
    distributed.all_or_none(lambda: index and refuse(f"I am {index}"))
"""


def run(body):
    """(exit code, lines) of three processes."""
    said, port = [], str(free_port())
    script = SCRIPT.replace("\n    BODY\n", body).replace("PORT", port)
    words = [(sys.executable, "-c", script.replace("INDEX", str(index))) for index in range(3)]
    how = {"JAX_PLATFORMS": "cpu", "PYTHONUNBUFFERED": "1"}
    code = processes.run_apart([processes.Command(one, how) for one in words], say=said.append, lost="")
    return code, said


def test_one_that_fails_says_so_and_outlasts_the_others_which_need_its_service():
    code, said = run(FAILS)
    assert code == 0
    assert said == ["[0] jaxnets: no such file", "[1] done", "[2] done", "worker 0 of 3 ended with exit code 3"]


def test_one_that_is_killed_is_missed_after_its_heartbeat_and_nothing_else_happens():
    code, said = run(DIES)
    assert code == 0 and sorted(said) == ["[0] done", "[2] done", "worker 1 of 3 was killed by signal 9 (SIGKILL)"]


def test_who_does_not_come_is_named():
    code, said = run(ABSENT)
    assert code == 137 and sum("no sign of process 1 of 3" in line for line in said) == 2


def test_what_several_refuse_is_said_once():
    assert run(REFUSES) == (2, ["[0] jaxnets: process 1 of 3: I am 1"])
