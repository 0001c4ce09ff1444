"""How the suite runs: shapes and types checked in every call, warnings as errors, no device but the CPU."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from jaxtyping import install_import_hook

install_import_hook("jaxnets", "beartype.beartype")

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch, request):
    """Prepared data sets are shared by the workers of one session, never with the user's own cache."""
    root = tmp_path_factory.getbasetemp()
    shared = root.parent if hasattr(request.config, "workerinput") else root
    monkeypatch.setenv("JAXNETS_CACHE", str(shared / "jaxnets-cache"))
