"""A step's pages are not given back between steps: in processes of their own, as the allocator is set once."""

import os
import statistics
import subprocess
import sys

import pytest

STEPS = """
import resource, sys
from jaxnets.memory import keep_pages
kept = keep_pages() if sys.argv[1] == "keep" else False
import jax, jax.numpy as jnp
work = jax.jit(lambda x: jnp.sin(x @ x.T) @ x)  # 36 MB of intermediate values
x = jnp.ones((3000, 8))
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
pages = []
for _ in range(40):
    before = faults()
    work(x).block_until_ready()
    pages.append(faults() - before)
print(kept, *pages)
"""


def pages_a_step(how, **environment):
    """(whether the allocator was set, new pages of the median step); the first steps may still spread out."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC", "LD_PRE"))}
    words = [sys.executable, "-c", STEPS, how]
    out = subprocess.run(words, capture_output=True, text=True, check=True, env=clean | environment).stdout
    kept, *pages = out.split()
    return kept == "True", statistics.median(map(int, pages))


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_a_step_touches_no_new_pages():
    kept, pages = pages_a_step("keep")
    untouched, otherwise = pages_a_step("leave")
    assert kept and not untouched
    assert otherwise > 8000  # 36 MB in pages of 4 KiB, at every step
    assert pages < 0.05 * otherwise


def test_the_users_own_choice_stands():
    assert pages_a_step("keep", MALLOC_ARENA_MAX="4")[0] is False
