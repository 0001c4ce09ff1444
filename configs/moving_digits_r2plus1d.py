"""Handwritten digits that move in one of eight directions, rendered with noise from scikit-learn's, a small R(2+1)D.

A single frame says nothing of the direction, so that what is right beyond 1 in 8 is seen motion: the same recipe with
`--data.source synthetic:moving_digits/1x16x16/8192`, clips of one frame, stays near chance.

command   jaxnets train configs/moving_digits_r2plus1d.py
hardware  two CPU cores, about a minute
expected  test accuracy ≥ 0.97 on digits that were not trained on
"""

from jaxnets.config import Experiment
from jaxnets.data import Data
from jaxnets.loop import Loop
from jaxnets.models import R2Plus1D
from jaxnets.optim import AdamW, Cosine
from jaxnets.tasks import Classification

experiment = Experiment(
    data=Data(source="synthetic:moving_digits/6x16x16/8192", batch_size=64),
    model=R2Plus1D(width=8, depths=(1, 1), stem="small"),
    task=Classification(),
    optim=AdamW(lr=5e-3, weight_decay=0.01, schedule=Cosine(warmup_steps=30)),
    loop=Loop(steps=400, log_every=50, eval_every=100, save_every=200),
)
