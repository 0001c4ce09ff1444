"""One trial in PyTorch, in a process of its own: `python torch_trial.py FOLDER JSON`; prints its figures as JSON.

Runs in an environment with torch and NumPy, without jaxnets.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy


def model(sizes: list[int]) -> nn.Sequential:
    """Linear layers with ReLU between them; scales of the weights as in hand.py, biases 0."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in zip(sizes, sizes[1:], strict=False):
        linear = nn.Linear(fan_in, fan_out)
        gain = 1.0 if fan_out == sizes[-1] else 2.0
        nn.init.normal_(linear.weight, std=math.sqrt(gain / fan_in))
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def main() -> None:
    of: dict[str, Any] = json.loads(sys.argv[2])
    torch.set_num_threads(of["threads"])
    torch.manual_seed(of["seed"])
    held = {name: torch.from_numpy(array) for name, array in np.load(f"{sys.argv[1]}/arrays.npz").items()}
    x, y = held["train_inputs"], held["train_targets"].long()
    network = model([x.shape[1], of["width"], of["width"], 10])
    kernels = [param for param in network.parameters() if param.ndim > 1]
    biases = [param for param in network.parameters() if param.ndim == 1]
    groups = [{"params": kernels, "weight_decay": of["weight_decay"]}, {"params": biases, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=of["lr"], fused=True)
    epochs = math.ceil(of["steps"] * of["batch_size"] / len(x))
    order = torch.cat([torch.randperm(len(x)) for _ in range(epochs)])[: of["steps"] * of["batch_size"]]
    for ids in order.reshape(of["steps"], of["batch_size"]):
        optimizer.zero_grad()
        cross_entropy(network(x[ids]), y[ids], label_smoothing=of["label_smoothing"]).backward()
        optimizer.step()
    figures = []
    with torch.no_grad():
        for split in ("valid", "test"):
            outputs, targets = network(held[f"{split}_inputs"]), held[f"{split}_targets"].long()
            right = (outputs.argmax(1) == targets).float().mean()
            figures += [float(cross_entropy(outputs, targets)), float(right)]
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
