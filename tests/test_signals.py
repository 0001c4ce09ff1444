"""Who is obeyed at once: a script's process ends, a person's prompt or notebook stays."""

import subprocess
import sys

import pytest

CODE = """
import os, signal, sys, time
if sys.argv[1] == "typed":
    sys.ps1 = ">>> "
from jaxnets.signals import Signals
with Signals() as signals:
    if sys.argv[2] == "held":
        signals.hold()
    try:
        os.kill(os.getpid(), getattr(signal, sys.argv[3]))
        time.sleep(0.5)
        print("received", signals.received)
        signals.release()
    except KeyboardInterrupt:
        print("interrupted")
print("alive")
"""


@pytest.mark.parametrize(
    ("how", "held", "name", "code", "out"),
    [
        ("typed", "free", "SIGINT", 0, "interrupted\nalive\n"),
        ("typed", "held", "SIGINT", 0, "received 2\ninterrupted\nalive\n"),
        ("typed", "free", "SIGTERM", 143, ""),
        ("script", "free", "SIGINT", 130, ""),
        ("script", "held", "SIGINT", 130, "received 2\n"),
        ("script", "free", "SIGTERM", 143, ""),
    ],
)
def test_ctrl_c_leaves_a_prompt_alive_and_ends_a_script(how, held, name, code, out):
    words = [sys.executable, "-u", "-c", CODE, how, held, name]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (code, out), done.stderr
