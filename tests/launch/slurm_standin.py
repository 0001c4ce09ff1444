"""Slurm's commands as one file under several names: they keep what they are told, and the state of each job."""

import json
import os
import sys
from pathlib import Path

HOME = Path(os.environ.get("SLURM_STANDIN", "."))
INVALID = "slurm_load_jobs error: Invalid job id specified"


def sbatch(jobs, words):
    if (HOME / "refuse").exists():
        sys.exit("sbatch: error: invalid partition specified: gpu\nsbatch: error: Batch job submission failed")
    assert Path(words[-1]).read_text().startswith("#!/bin/bash")
    number = str(len(jobs) + 1)
    jobs[number] = {"JobState": "PENDING", "Requeue": "1", "Restarts": "0", "ExitCode": "0:0", "Reason": "Priority"}
    print(number)


def scontrol(jobs, words):
    if (HOME / "down").exists():
        sys.exit("slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
    if words[:3] == ["--oneliner", "show", "job"]:
        found = jobs.get(words[3], INVALID)
        if found == INVALID:
            sys.exit(INVALID)
        for values in found if isinstance(found, list) else [found]:
            if later := values.get("later"):  # what the next looks find
                values.update(later.pop(0))
            shown = {"JobId": words[3], "JobName": "vit", **values, "Comment": "a JobState=BAD b"}
            print(*(f"{name}={value}" for name, value in shown.items() if name != "later"))
    elif words[0] == "update":
        job(jobs, words[1].removeprefix("JobId="))["Requeue"] = words[2].removeprefix("Requeue=")


def scancel(jobs, words):
    values = job(jobs, words[-1])
    if words[0] == "--signal=TERM":
        assert values["JobState"] == "RUNNING"
        again = values["Requeue"] == "1"
        values.update({"JobState": "PENDING"} if again else {"JobState": "FAILED", "ExitCode": "143:0"})
    else:
        values["JobState"] = "CANCELLED"


def sacct(jobs, words):
    if (HOME / "accounts").exists():
        print((HOME / "accounts").read_text())
    else:
        sys.exit("Slurm accounting storage is disabled")


def job(jobs, number):
    """A job, or a task or the waiting tasks of an array."""
    whole, _, task = number.partition("_")
    if not task:
        return jobs[whole]
    return next(one for one in jobs[whole] if one["ArrayTaskId"].partition("%")[0] == task.strip("[]"))


if __name__ == "__main__":
    name, words = Path(sys.argv[0]).name, sys.argv[1:]
    with open(HOME / "calls", "a") as file:
        file.write(json.dumps([name, *words]) + "\n")
    state = HOME / "jobs.json"
    known = json.loads(state.read_text()) if state.exists() else {}
    try:
        {"sbatch": sbatch, "scontrol": scontrol, "scancel": scancel, "sacct": sacct}[name](known, words)
    finally:
        state.write_text(json.dumps(known))
