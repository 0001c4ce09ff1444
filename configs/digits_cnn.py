"""Handwritten digits (8 × 8, UCI via scikit-learn), a LeNet-like CNN.

source    LeCun et al., "Gradient-based learning applied to document recognition", 1998, with batch-sized steps of AdamW
command   jaxnets train configs/digits_cnn.py
hardware  two CPU cores, under a minute
expected  test accuracy at least 0.985 (mean of seeds 0, 1, 2)
table     embedded | test accuracy ≥ 0.985
"""

from jaxnets.config import Experiment
from jaxnets.data import Crop, Data
from jaxnets.loop import Loop
from jaxnets.models import CNN
from jaxnets.optim import AdamW, OneCycle
from jaxnets.tasks import Classification

experiment = Experiment(
    data=Data(source="digits", batch_size=64, augment=(Crop(padding=1),)),
    model=CNN(channels=(32, 64), hidden=128, dropout=0.3),
    task=Classification(label_smoothing=0.05),
    optim=AdamW(lr=3e-3, weight_decay=0.02, schedule=OneCycle()),
    loop=Loop(epochs=120, log_every=100, eval_every=200, save_every=400, monitor="nll"),
)
