"""Several real processes of one run on this machine, for the tests of what befalls them."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small import CONFIG, log_of

HEARTBEAT = 5  # seconds
VALID = 18  # examples of wine

FSDP = CONFIG.replace("Data, Experiment", "Data, Experiment, Plan").replace(
    "loop=Loop(steps=1000,", 'plan=Plan(data=1, fsdp=-1),\n    loop=Loop(steps=160, dispatch="bare",'
)


def gone(pid):
    """Whether a process has ended; one that nobody has waited for yet counts as ended."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def all_gone(found, seconds=5.0):
    until = time.monotonic() + seconds
    while not all(map(gone, found)) and time.monotonic() < until:
        time.sleep(0.01)
    return all(map(gone, found))


def newest(run_dir):
    """The newest step that is whole on the disk, or -1."""
    folders = (Path(run_dir) / "checkpoints").glob("0*/manifest.json")
    return max((int(path.parent.name[:8]) for path in folders), default=-1)


class Launched:
    """`jaxnets launch local -- train CONFIG --run-dir RUN_DIR …`, or `sweep CONFIG --sweep-dir …`, begun; killed on the
    way out if it still runs.
    """

    def __init__(self, config, run_dir, *words, processes=2, launcher=(), heartbeat=HEARTBEAT, command="train"):
        self.run_dir, self.processes = Path(run_dir), processes
        option = {"train": "--run-dir", "sweep": "--sweep-dir"}[command]
        own = (command, config, option, run_dir, "--heartbeat", heartbeat, *words)
        program = (sys.executable, "-m", "jaxnets.cli", "launch", "local", "--processes", processes, *launcher)
        self._popen = subprocess.Popen(
            [str(word) for word in (*program, "--", *own)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self._popen.kill()
        self._popen.wait()
        self._popen.stdout.close()

    @property
    def ended(self):
        return self._popen.poll() is not None

    def until(self, condition):
        """Waits for `condition()`, and says what was printed if the launch ends before."""
        while not condition():
            assert not self.ended, self._popen.communicate()[0]
            time.sleep(0.002)
        return self

    def until_saved(self, step):
        return self.until(lambda: newest(self.run_dir) >= step)

    def pids(self):
        """{index: pid}, read from the kernel."""
        found = {}
        for pid in Path(f"/proc/{self._popen.pid}/task/{self._popen.pid}/children").read_text().split():
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            if "--index" in words:
                found[int(words[words.index("--index") + 1])] = int(pid)
        return found

    def end(self):
        """(exit code, everything that was printed)."""
        out, _ = self._popen.communicate(timeout=300)
        return self._popen.returncode, out

    def strike(self, victim, number):
        """A signal to one process. One killed or frozen is named, and all others end within heartbeat + 5 seconds."""
        found = self.pids()
        others = [pid for index, pid in found.items() if index != victim]
        assert len(others) == self.processes - 1
        os.kill(found[victim], number)
        if number != signal.SIGTERM:
            assert all_gone(others, HEARTBEAT + 5), f"after {HEARTBEAT + 5} s some live that lost process {victim}"
        code, out = self.end()
        if number == signal.SIGTERM:
            steps = re.findall(r"saved at step (\d+)", out)
            assert code == 143 and len(steps) == self.processes and len(set(steps)) == 1, out
            return out
        words = {signal.SIGKILL: "was killed by signal 9", signal.SIGSTOP: "did not answer any more"}[number]
        assert code != 0 and f"jaxnets: process {victim} of {self.processes} {words}" in out, out
        return out


def finish(config, run_dir, *words, **how):
    """Runs to the end; what was printed."""
    with Launched(config, run_dir, *words, **how) as launched:
        code, out = launched.end()
    assert code == 0, out
    return out


def flip(run_dir, process):
    """One bit of what a process wrote of the newest checkpoint; the step that is damaged now."""
    step = newest(run_dir)
    [folder] = (Path(run_dir) / "checkpoints").glob(f"{step:08d}*")
    files = [path for path in folder.rglob("*") if path.is_file() and f"process_{process}" in str(path)]
    largest = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 4
    largest.write_bytes(content)
    return step


def assert_close(run_dir, reference, *, rel=1e-5, valid=VALID):
    """The same lines with the same figures; float32 sums in another order. An accuracy is a count of `valid`."""
    one, two = log_of(reference), log_of(run_dir)
    assert [line["step"] for line in one] == [line["step"] for line in two]
    for a, b in zip(one, two, strict=True):
        for split in {"train", "valid"} & a.keys():
            assert b[split] == pytest.approx(a[split], rel=rel, abs=1e-6)
            if split == "valid" and valid is not None:
                right = b[split]["accuracy"] * valid  # each example of the uneven last batch counts, and once
                assert right == pytest.approx(round(right), abs=1e-9)
