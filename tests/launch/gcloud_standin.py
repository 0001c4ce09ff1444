"""A stand-in for gcloud: keeps a TPU VM in a folder, writes down every call, and runs what `ssh` is given in the homes
of the workers. It is a program of its own, and `Cloud` is how a test sees it.

`plan.json` beside it says what goes wrong: {"looks": looks until READY, "refuse": [words or null for each creation],
"preempt": [glob, …] and "break": [glob, …] in turn once a file of the folder is there while an ssh runs, "left": the
state after a preemption, null for gone, "told": whether the programs get SIGTERM before}.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


class Cloud:
    """The stand-in as a test sees it; `folder` goes to PATH."""

    def __init__(self, folder, *, workers=1, **plan):
        self.folder = folder
        folder.mkdir()
        (folder / "plan.json").write_text(json.dumps({"workers": workers, **plan}))
        shutil.copy(__file__, folder / "gcloud.py")
        self._program("gcloud", f'exec {sys.executable} -IS {folder / "gcloud.py"} "$@"')
        worker = folder / "worker"
        worker.mkdir()
        (worker / "pip.py").write_text("")
        (worker / "uv.py").write_text(UV)
        self._program("worker/hostname", 'echo "t1v-n-1-w-$JAXNETS_TEST_WORKER"')

    def _program(self, name, line):
        (self.folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (self.folder / name).chmod(0o755)

    @property
    def calls(self):
        path = self.folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def count(self, *words):
        """How many calls had these words."""
        return sum(set(words) <= set(call) for call in self.calls)

    @property
    def left(self):
        """What still costs money."""
        path = self.folder / "cloud.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def processes(self):
        return list(processes(self.folder / "homes"))

    def change(self, **state):
        (self.folder / "cloud.json").write_text(json.dumps(state))


UV = """
import pathlib, sys
words = sys.argv[1:]
if words[0] == "venv":
    python = pathlib.Path(words[-1]) / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(f'#!/bin/sh\\nexec {sys.executable} "$@"\\n')
    python.chmod(0o755)
else:
    cloud = pathlib.Path(__file__).parents[1]
    (cloud / "installing").touch()
    if (cloud / "uninstallable").exists():
        sys.exit("no matching distribution")
    import time
    while (cloud / "slow").exists():
        time.sleep(0.02)
"""


def processes(homes):
    """Those that live in the homes of workers."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if f"\0HOME={homes}/".encode() in b"\0" + (entry / "environ").read_bytes():
                    yield int(entry.name)
            except OSError:
                continue


def kill(homes, number=signal.SIGKILL):
    for process in processes(homes):
        try:
            os.kill(process, number)
        except ProcessLookupError:
            continue


def main(words):
    with open(HERE / "calls.jsonl", "a") as calls:
        calls.write(json.dumps(["gcloud", *words]) + "\n")
    assert words[:2] == ["compute", "tpus"], words
    kind, act = words[2:4]
    flags = dict(word[2:].partition("=")[::2] for word in words[4:] if word.startswith("--"))
    names = [word for word in words[4:] if not word.startswith("--")]
    sys.exit(globals()[act.replace("-", "_")](kind, names, flags))


def plan():
    return json.loads((HERE / "plan.json").read_text())


def cloud():
    path = HERE / "cloud.json"
    return json.loads(path.read_text()) if path.exists() else {}


def keep(**changes):
    """Changes what there is; None takes it away."""
    found = {name: value for name, value in (cloud() | changes).items() if value is not None}
    part = HERE / f"cloud.{os.getpid()}"
    part.write_text(json.dumps(found))
    part.rename(HERE / "cloud.json")


def fail(words, code=1):
    print(f"ERROR: (gcloud.compute.tpus) {words}", file=sys.stderr)
    return code


def next_of(name):
    """The first of a list of the plan, which is one shorter afterwards."""
    path = HERE / f"{name}.used"
    used = int(path.read_text()) if path.exists() else 0
    listed = plan().get(name, [])
    path.write_text(str(used + 1))
    return listed[used] if used < len(listed) else None


def create(kind, names, flags):
    if words := next_of("refuse"):
        return fail(words)
    if cloud():
        return fail("ALREADY_EXISTS")
    queued = kind == "queued-resources"
    assert not queued or flags["node-id"] == names[0]
    keep(**({"queue": "WAITING_FOR_RESOURCES"} if queued else {}), node=None if queued else "CREATING", looks=0)
    homes = HERE / "homes"
    for worker in range(plan()["workers"]):
        (homes / str(worker)).mkdir(parents=True)
    return 0


def describe(kind, names, flags):
    found = cloud()
    if kind == "tpu-vm" and found.get("node") == "CREATING":
        keep(looks=found["looks"] + 1, **({"node": "READY"} if found["looks"] >= plan().get("looks", 1) else {}))
    elif kind == "queued-resources" and found.get("queue") == "WAITING_FOR_RESOURCES":
        keep(queue="ACTIVE", node="CREATING")
    state = found.get("node" if kind == "tpu-vm" else "queue")
    if state is None:
        return fail("NOT_FOUND: Resource was not found")
    print(state)
    return 0


def delete(kind, names, flags):
    if not cloud().get("node" if kind == "tpu-vm" else "queue"):
        return fail("NOT_FOUND: Resource was not found")
    kill(HERE / "homes")
    shutil.rmtree(HERE / "homes", ignore_errors=True)
    keep(node=None, looks=None, **({"queue": None} if kind == "queued-resources" else {}))
    return 0


def scp(kind, names, flags):
    if cloud().get("node") != "READY":
        return fail("TPU is in unusable state")
    for home in (HERE / "homes").iterdir():
        for name in names[:-1]:
            shutil.copy(name, home / name)
    return 0


def ssh(kind, names, flags):
    if cloud().get("node") != "READY":
        return fail("TPU is in unusable state")
    began = [start(home, flags["command"]) for home in sorted((HERE / "homes").iterdir())]
    while any(process.poll() is None for process in began):
        if due("preempt"):
            preempt()
            return 255
        if due("break"):
            for process in began:
                os.killpg(process.pid, signal.SIGKILL)
            return 255
        time.sleep(0.02)
    return max(process.returncode for process in began)


def start(home, command):
    path = f"{HERE / 'worker'}:{os.environ['PATH']}"
    environment = os.environ | {"HOME": str(home), "PATH": path, "JAXNETS_TEST_WORKER": home.name}
    environment["PYTHONPATH"] = f"{HERE / 'worker'}:{os.environ.get('PYTHONPATH', '')}"
    return subprocess.Popen(["sh", "-c", command], cwd=home, env=environment, start_new_session=True)


def due(name):
    used = HERE / f"{name}.used"
    number = int(used.read_text()) if used.exists() else 0
    listed = plan().get(name, [])
    if number >= len(listed) or not list(HERE.glob(listed[number])):
        return False
    used.write_text(str(number + 1))
    return True


def preempt():
    if plan().get("told"):
        kill(HERE / "homes", signal.SIGTERM)
        time.sleep(0.5)
    kill(HERE / "homes")
    shutil.rmtree(HERE / "homes", ignore_errors=True)
    keep(node=plan().get("left", "PREEMPTED"), **({"queue": "SUSPENDED"} if "queue" in cloud() else {}))


if __name__ == "__main__":
    main(sys.argv[1:])
