"""How the fast suite compiles: its programs are tiny, and XLA:CPU makes unoptimised ones several times faster."""

from importlib.metadata import version

FLAGS = "--xla_backend_optimization_level=0"
if tuple(map(int, version("jax").split(".")[:2])) < (0, 11):  # the second flag is gone in 0.11
    FLAGS += " --xla_cpu_use_fusion_emitters=false"
