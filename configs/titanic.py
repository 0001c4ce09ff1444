"""Titanic (891 passengers, from the raw file with names, tickets and cabins), a perceptron with members inside.

source    mwaskom/seaborn-data's titanic rows with names; the columns' kinds are inferred: words of names, tickets and
          cabins become flags, a ticket's number of holders a number
data      titanic.csv in JAXNETS_DATA
command   JAXNETS_DATA=FOLDER jaxnets train configs/titanic.py
splits    … --data.split_seed 1, as scikit-learn's train_test_split with test_size 0.2 and that random_state
hardware  two CPU cores, half a minute to a minute
expected  test accuracy at least 0.808 (mean of data.split_seed 0 to 4)
measured  0.8101 ± 0.024 by experiments/tables_benchmark.py, where boosted trees have 0.8067 ± 0.040
table     `titanic.csv` in `JAXNETS_DATA` | accuracy ≥ 0.808 (mean of 5 splits)
"""

from jaxnets.config import Experiment
from jaxnets.data import Columns, Data
from jaxnets.loop import Loop
from jaxnets.models import TabularMLP
from jaxnets.optim import AdamW, Cosine
from jaxnets.tasks import Classification

experiment = Experiment(
    data=Data(
        source="table:titanic.csv",
        target="Survived",
        batch_size=64,
        valid=0.03,
        split_by="sklearn",
        columns=Columns(types=("Pclass:category",)),
    ),
    model=TabularMLP(widths=(64,), cell_width=8, frequencies=8, members=4, dropout=0.3, cell_dropout=0.1),
    task=Classification(),
    optim=AdamW(lr=3e-3, weight_decay=0.1, schedule=Cosine(), ema_decay=0.99),
    loop=Loop(steps=600, log_every=50, eval_every=200, save_every=600, monitor="nll", keep_best=False),
)
