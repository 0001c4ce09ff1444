"""A step's pages are not given back between steps: in processes of their own, as the allocator is set once."""

import os
import subprocess
import sys

import pytest

STEPS = """
import resource, sys
from jaxnets.memory import keep_pages
kept = keep_pages() if sys.argv[1] == "keep" else False
import jax, jax.numpy as jnp
work = jax.jit(lambda x: jnp.sin(x @ x.T) @ x)  # 36 MB of intermediate values
x = work(jnp.ones((3000, 8))).block_until_ready()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    work(x).block_until_ready()
print(kept, (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 10)
"""


def pages_a_step(how, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC", "LD_PRE"))}
    words = [sys.executable, "-c", STEPS, how]
    out = subprocess.run(words, capture_output=True, text=True, check=True, env=clean | environment).stdout
    kept, pages = out.split()
    return kept == "True", float(pages)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_a_step_touches_no_new_pages():
    kept, pages = pages_a_step("keep")
    untouched, otherwise = pages_a_step("leave")
    assert kept and not untouched
    assert otherwise > 8000  # 36 MB in pages of 4 KiB, at every step
    assert pages < 0.05 * otherwise


def test_the_users_own_choice_stands():
    assert pages_a_step("keep", MALLOC_ARENA_MAX="4")[0] is False
