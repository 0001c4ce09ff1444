"""`DataLoader` of PyTorch over the examples of one row: `python torch_loader.py FOLDER ROW BATCH_SIZE WORKERS|batches`.

Says its version in a line, then answers each line of stdin, which holds seconds, with (batches, seconds) as JSON. Its
sampler draws without end, so that no end of an epoch is paid for. `batches`: the sampler gives whole batches to index
arrays with, a way of torch's own that few use; otherwise a tensor is made of each example, and they are collated.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from examples import Held, examples
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, TensorDataset

_WARM = 8  # batches that are not counted: more than are prefetched while others are measured


class Tensors(Dataset):
    """Each example as tensors."""

    def __init__(self, inside: Any) -> None:
        self.inside = inside

    def __len__(self) -> int:
        return len(self.inside)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return tuple(torch.as_tensor(part) for part in self.inside[index])


def loader(row: str, folder: Path, batch_size: int, way: str) -> DataLoader:
    """As its users call it."""
    inside = examples(row, folder)
    held = isinstance(inside, Held)
    dataset: Any = TensorDataset(*map(torch.from_numpy, inside.arrays)) if held else Tensors(inside)
    sampler = RandomSampler(dataset, replacement=True, num_samples=1 << 40)
    if way == "batches":
        return DataLoader(dataset, sampler=BatchSampler(sampler, batch_size, drop_last=True), batch_size=None)
    return DataLoader(dataset, batch_size=batch_size, sampler=sampler, num_workers=int(way))


def main() -> None:
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what others print is not taken for an answer
    batches = iter(loader(sys.argv[2], Path(sys.argv[1]), int(sys.argv[3]), sys.argv[4]))
    first = next(batches)
    print(json.dumps({"version": torch.__version__, "shape": list(first[0].shape)}), file=lines, flush=True)
    for line in sys.stdin:
        for _ in range(_WARM):
            next(batches)
        count, began = 0, time.perf_counter()
        while (taken := time.perf_counter() - began) < float(line):
            next(batches)
            count += 1
        print(json.dumps([count, taken]), file=lines, flush=True)


if __name__ == "__main__":
    main()
