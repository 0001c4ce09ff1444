"""Diamonds (53 940 of them with their prices), a perceptron on periodic features that learns the price's logarithm.

source    the rows that ship with ggplot2, as in mwaskom/seaborn-data; the model is that of Gorishniy et al., 2022 and
          2024 (see jaxnets/models/tabular_mlp.py)
data      diamonds.csv in JAXNETS_DATA
command   JAXNETS_DATA=FOLDER jaxnets train configs/diamonds.py
splits    … --data.split_seed 1, as scikit-learn's train_test_split with test_size 0.2 and that random_state
hardware  two CPU cores
expected  test RMSE below 544 dollars (mean of data.split_seed 0 to 4)
measured  536.7 ± 10.3 by experiments/tables_benchmark.py, 38 to 68 s a split; boosted trees 544.1 ± 14.2
table     `diamonds.csv` in `JAXNETS_DATA` | RMSE < 544 (mean of 5 splits)
"""

from jaxnets.config import Experiment
from jaxnets.data import Data
from jaxnets.loop import Loop
from jaxnets.models import TabularMLP
from jaxnets.optim import AdamW, Cosine
from jaxnets.tasks import Regression

experiment = Experiment(
    data=Data(source="table:diamonds.csv", target="price", batch_size=512, valid=0.02, split_by="sklearn"),
    model=TabularMLP(widths=(256, 256), cell_width=16, frequencies=16, sigma=0.2, members=4),
    task=Regression(transform="log"),
    optim=AdamW(lr=2e-3, weight_decay=0.02, schedule=Cosine(), ema_decay=0.995),
    loop=Loop(epochs=40, log_every=100, eval_every=500, save_every=1000, monitor="rmse", keep_best=False),
)
