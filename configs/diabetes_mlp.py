"""Diabetes progression (442 rows, 10 features, via scikit-learn), a small multilayer perceptron as regressor.

command   jaxnets train configs/diabetes_mlp.py
hardware  two CPU cores, a few seconds
expected  test RMSE at most 1.02 × that of scikit-learn's RidgeCV (mean over data.split_seed 0 to 4, the same splits)
table     embedded | RMSE ≤ 1.02 × RidgeCV's on the same splits
"""

from jaxnets.config import Experiment
from jaxnets.data import Data
from jaxnets.loop import Loop
from jaxnets.models import MLP
from jaxnets.optim import AdamW, Cosine
from jaxnets.tasks import Regression

experiment = Experiment(
    data=Data(source="diabetes", batch_size=64),
    model=MLP(widths=(64,), activation="gelu", dropout=0.3),
    task=Regression(),
    optim=AdamW(lr=2e-3, weight_decay=1.0, schedule=Cosine(), ema_decay=0.99),
    loop=Loop(steps=400, log_every=50, eval_every=50, save_every=200, monitor="rmse"),
)
