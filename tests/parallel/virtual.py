"""Functions that the tests of plans run in a process of its own, on as many virtual CPU devices as they ask for.

`on_devices(8, losses, ...)` in a test starts this file, which calls the function and prints its result as JSON.
"""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from quick import FLAGS

from jaxnets import Data, Experiment, Loop
from jaxnets.admission import admit, admit_data
from jaxnets.build import experiment_step
from jaxnets.checkpoint import Checkpoints
from jaxnets.collectives import collectives
from jaxnets.config import Custom
from jaxnets.data import gather, load, orders, preprocess
from jaxnets.digest import digest
from jaxnets.models import GPT, MLP, ResNet9, ViT, mlp
from jaxnets.optim import SGD, AdamW
from jaxnets.parallel import Plan, bytes_on_one_device, compile_step, lower_and_count
from jaxnets.progress import Progress
from jaxnets.run import run
from jaxnets.step import init_state
from jaxnets.tasks import Classification, LanguageModelling
from jaxnets.types import Model

PLANS = {  # on 8 devices; those that are left may be any number
    "one device": {"data": 1},
    "data": {},
    "fsdp": {"data": 1, "fsdp": -1},
    "data 2 × fsdp": {"data": 2, "fsdp": -1},
    "data × tensor 2": {"tensor": 2},
    "data × fsdp 2 × tensor 2": {"fsdp": 2, "tensor": 2},
    "pmap": {"mode": "pmap"},
}
DIGITS = {"data": Data(source="digits", batch_size=32), "task": Classification()}
TEXT = {"data": Data(source=f"text:{__file__}", batch_size=32, context=16), "task": LanguageModelling()}
MODELS = {
    "mlp": DIGITS | {"model": MLP(widths=(16,))},
    "resnet9": DIGITS | {"model": ResNet9(width=8), "optim": SGD(lr=1e-2)},
    "vit": DIGITS | {"model": ViT(patch=4, width=16, depth=2, heads=2, mlp_width=32)},
    "gpt": TEXT | {"model": GPT(context=16, width=16, depth=2, heads=4, kv_heads=2)},
}
SMALL = 1e-4  # a step so small that what is rounded elsewhere does not lead the run elsewhere
VARIANTS = {  # what is changed in each stage
    "plain": {},
    "accumulation and average": {"optim": {"accumulate": 2, "ema_decay": 0.9, "lr": SMALL}},
    "bfloat16": {"model": {"dtype": "bfloat16"}, "optim": {"lr": SMALL}},
    "skip": {"loop": {"nonfinite": "skip"}},
    **{f"remat {name}": {"model": {"remat": name}} for name in ("full", "dots", "dots_no_batch")},
}


def on_devices(count, function, **arguments):
    """What a function of this file returns in a process with `count` virtual devices; the programs are shared."""
    programs = jax.config.jax_compilation_cache_dir
    environ = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(count), "XLA_FLAGS": FLAGS}
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, __file__, function.__name__],
        input=json.dumps({"programs": programs} | arguments),
        capture_output=True,
        text=True,
        env=environ,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def experiment_of(model, plan, *, variant="plain", steps=50):
    """A model of the table under a plan of the table."""
    stages = {"optim": AdamW(lr=1e-3), "loop": Loop(steps=steps), "plan": Plan(**PLANS[plan])} | MODELS[model]
    return Experiment(**stages | {name: replace(stages[name], **how) for name, how in VARIANTS[variant].items()})


def losses(model, plans, *, variant="plain", steps=50, length=1, bad=None):
    """{plan: figures of each step}, in dispatches of `length`; the inputs of step `bad` are not finite."""
    dataset, found = None, {}
    for plan in plans:
        experiment = experiment_of(model, plan, variant=variant, steps=steps)
        dataset = dataset or admit_data(experiment)
        found[plan] = list(trajectory(admit(experiment, dataset), steps=steps, length=length, bad=bad)[0])
    return found


def trajectory(admitted, *, steps, length=1, bad=None, state=None, start=0):
    """(figures of each step, the last state) from `state`, or from the beginning."""
    rows = _rows(admitted, start, steps, bad)
    state = fresh(admitted) if state is None else state
    compiled = compile_step(**_step(admitted, rows, length))
    figures = []
    for at in range(0, steps, length):
        feed = admitted.layout.place_feed(jax.tree.map(lambda leaf, at=at: leaf[at : at + length], rows))
        state, sums = compiled.call(state, feed, length)
        sums = jax.device_get(sums)
        for i in range(length):
            # The update's norm says less: Adam makes a whole step of a gradient of rounding alone (a key's bias).
            one = {name: _mean(sums["metrics"][name], i) for name in ("loss", "grad_norm")}
            figures.append(one | {"finite": bool(sums["health"]["finite"][i])})
    figures[-1]["average"] = _norm(state.average)
    return figures, state


def fresh(admitted):
    """The state before the first step, never unsharded."""
    return jax.jit(
        lambda: init_state(*admitted.parts, key=jax.random.key(0), batch=admitted.batch),
        out_shardings=admitted.layout.state(admitted.shapes),
    )()


def told(model, plans):
    """{plan: every collective of its compiled step}."""
    found = {}
    for plan in plans:
        admitted = admit(experiment_of(model, plan))
        lowered, _ = lower_and_count(**_step(admitted, _rows(admitted, 0, 1, None), 1))
        found[plan] = [one._asdict() for one in collectives(lowered.compile().as_text())]
    return found


def shards(model, plan, *, variant="plain"):
    """{path: (shape, shape of a device's part)} of the state after a step; and bytes on one device, as foretold."""
    admitted = admit(experiment_of(model, plan, variant=variant))
    _, state = trajectory(admitted, steps=1)
    leaves = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state)}
    found = {path: (leaf.shape, leaf.addressable_shards[0].data.shape) for path, leaf in leaves.items()}
    held = sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves.values())
    return {"leaves": found, "held": held, "foretold": bytes_on_one_device(admitted.layout.shapes(admitted.shapes))}


def save(folder, model, plan, *, steps):
    """Figures of `steps` steps after a checkpoint at step `steps`, and the digests of what is in it."""
    admitted = admit(experiment_of(model, plan, variant="accumulation and average"))
    _, state = trajectory(admitted, steps=steps)
    with Checkpoints(Path(folder)) as checkpoints:
        checkpoints.save(steps, state, {})
    before = digests(state)
    return {"digests": before, "figures": trajectory(admitted, steps=steps, state=state, start=steps)[0]}


def go_on(folder, model, plans, *, steps):
    """{plan: what `save` returns} of a state that is restored from its checkpoint."""
    found = {}
    for plan in plans:
        admitted = admit(experiment_of(model, plan, variant="accumulation and average"))
        with Checkpoints(Path(folder)) as checkpoints:
            restored = checkpoints.restore(admitted.layout.shapes(admitted.shapes))
        state = admitted.layout.place_state(restored.tree)
        before = digests(state)
        figures, _ = trajectory(admitted, steps=steps, state=state, start=restored.step)
        found[plan] = {"digests": before, "figures": figures}
    return found


def digests(state):
    return {jax.tree_util.keystr(path): digest(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(state)}


def train(run_dir, plan, *, allow=(), limit=None, nonfinite="abort", spoiled=None):
    """A whole run of the model that counts; its figures."""
    return run(
        counting(plan, limit=limit, nonfinite=nonfinite, spoiled=spoiled),
        run_dir,
        allow=allow,
        progress=Progress(quiet=True),
    ).figures


def counting(plan, *, limit=None, nonfinite="abort", spoiled=None):
    """An experiment on wine, over whole epochs, whose state counts how often each example was trained on.

    spoiled: the number of the example that makes the outputs NaN
    """
    data = Data(source="wine", batch_size=16)
    dataset = load(data)
    rows = np.asarray(preprocess(dataset.schema, dataset.splits["train"].arrays["inputs"]))
    inner = mlp(3, widths=(16,))

    def init(key, inputs):
        return inner.init(key, inputs)[0], {"seen": jnp.zeros(len(rows))}

    def apply(params, state, inputs, *, train=False, key=None, axis=None):
        outputs, _ = inner.apply(params, {}, inputs, train=train, key=key)
        if not train:
            return outputs, state
        nearest = jnp.square(inputs[:, None] - rows[None]).sum(-1).argmin(-1)
        if spoiled is not None:
            outputs = outputs + jnp.where((nearest == spoiled).any(), jnp.nan, 0.0)
        seen = jnp.zeros(len(rows)).at[nearest].add(1.0)
        return outputs, {"seen": state["seen"] + (seen if axis is None else jax.lax.psum(seen, axis))}

    steps = len(rows) // math.gcd(len(rows), data.batch_size)
    loop = Loop(
        steps=steps, limit_steps=limit, log_every=4, eval_every=8, save_every=8, nonfinite=nonfinite, keep_best=False
    )
    return Experiment(
        data=data,
        model=Custom(model=Model(init, apply)),
        optim=AdamW(lr=1e-3, ema_decay=0.9),
        plan=Plan(**PLANS[plan]),
        loop=loop,
    )


def _rows(admitted, start, steps, bad):
    """The batches (steps, batch, ...) from batch `start` on."""
    train, size = admitted.train, admitted.experiment.data.batch_size
    ids = orders(0, start, steps, batch_size=size, length=train.length)
    flat = gather(dict(train.arrays), ids.reshape(-1), window=train.window, stride=train.stride)
    rows = jax.tree.map(lambda leaf: np.array(leaf).reshape(*ids.shape, *leaf.shape[1:]), dict(flat))
    if bad is not None:
        rows["weight"][bad] = np.nan
    return rows


def _step(admitted, rows, length):
    """What `compile_step` takes."""
    layout, schema = admitted.layout, admitted.schema
    return {
        "step": lambda state, batch, numbers: experiment_step(state, batch, numbers, schema=schema, axis=layout.axis),
        "batch_of": lambda numbers, feed, index: jax.tree.map(lambda leaf: leaf[index], feed),
        "layout": layout,
        "constants": jax.tree.map(jnp.asarray, admitted.experiment),
        "train_state": admitted.shapes,
        "feed": jax.tree.map(lambda leaf: leaf[:length], rows),
        "length": length,
    }


def _mean(sums, index):
    return float(sums["total"][index] / sums["weight"][index]) if sums["weight"][index] else 0.0


def _norm(tree):
    return float(sum(np.square(np.asarray(leaf, np.float64)).sum() for leaf in jax.tree.leaves(tree)) ** 0.5)


if __name__ == "__main__":
    arguments = json.load(sys.stdin)
    jax.config.update("jax_compilation_cache_dir", arguments.pop("programs"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    print(json.dumps(globals()[sys.argv[1]](**arguments)))
