"""How the suite runs: shapes and types checked in every call, warnings as errors, no device but the CPU."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from jaxtyping import install_import_hook

install_import_hook("jaxnets", "beartype.beartype")

import jax  # noqa: E402
import pytest  # noqa: E402
from jax.experimental.compilation_cache import compilation_cache  # noqa: E402
from quick import FLAGS  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_configure(config):
    """The slow proofs compile as users do."""
    if config.option.markexpr == "not slow":
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}".lstrip()


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch, request):
    """Prepared data sets are shared by the workers of one session, never with the user's own cache."""
    root = tmp_path_factory.getbasetemp()
    shared = root.parent if hasattr(request.config, "workerinput") else root
    monkeypatch.setenv("JAXNETS_CACHE", str(shared / "jaxnets-cache"))


OWN_PROGRAMS = ("test_compilation", "test_series")  # they count what is compiled


@pytest.fixture(autouse=True, scope="module")
def shared_programs(tmp_path_factory, request):
    """What took long to compile is compiled once in a session: many tests train the same small experiments."""
    if any(name in request.node.nodeid for name in OWN_PROGRAMS):
        yield
        return
    root = tmp_path_factory.getbasetemp()
    shared = root.parent if hasattr(request.config, "workerinput") else root
    jax.config.update("jax_compilation_cache_dir", str(shared / "programs"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    compilation_cache.reset_cache()
    yield
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
