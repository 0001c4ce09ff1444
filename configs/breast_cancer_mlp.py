"""Breast cancer Wisconsin (569 rows, 30 features, UCI via scikit-learn), a multilayer perceptron.

command   jaxnets train configs/breast_cancer_mlp.py
hardware  two CPU cores, a few seconds
expected  test accuracy at least 0.965 (mean of data.split_seed 0 to 4)
table     embedded | ≥ 0.965 (mean of 5 splits)
"""

from jaxnets.config import Experiment
from jaxnets.data import Data
from jaxnets.loop import Loop
from jaxnets.models import MLP
from jaxnets.optim import AdamW, Cosine
from jaxnets.tasks import Classification

experiment = Experiment(
    data=Data(source="breast_cancer", batch_size=32),
    model=MLP(widths=(64, 64), activation="relu", dropout=0.2),
    task=Classification(label_smoothing=0.05),
    optim=AdamW(lr=2e-3, weight_decay=0.1, schedule=Cosine()),
    loop=Loop(steps=600, log_every=50, eval_every=100, save_every=300, monitor="nll", keep_best=False),
)
