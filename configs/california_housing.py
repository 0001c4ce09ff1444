"""California housing (20 640 districts of the census of 1990), a perceptron on periodic features with members inside.

source    Pace and Barry, 1997, as in ageron/data: with the nearness of the ocean, and bedrooms missing in some rows;
          the model is that of Gorishniy et al., 2022 and 2024 (see jaxnets/models/tabular_mlp.py)
data      california_housing.csv in JAXNETS_DATA
command   JAXNETS_DATA=FOLDER jaxnets train configs/california_housing.py
splits    … --data.split_seed 1, as scikit-learn's train_test_split with test_size 0.2 and that random_state
hardware  two CPU cores
expected  test RMSE at most 48 110 dollars (mean of data.split_seed 0 to 4)
measured  46 599 ± 521 by experiments/tables_benchmark.py, 38 to 149 s a split; boosted trees 48 110 ± 635
table     `california_housing.csv` in `JAXNETS_DATA` | RMSE ≤ 48 110 (mean of 5 splits)
"""

from jaxnets.config import Experiment
from jaxnets.data import Data
from jaxnets.loop import Loop
from jaxnets.models import TabularMLP
from jaxnets.optim import AdamW, Cosine
from jaxnets.tasks import Regression

experiment = Experiment(
    data=Data(
        source="table:california_housing.csv",
        target="median_house_value",
        batch_size=256,
        valid=0.03,
        split_by="sklearn",
    ),
    model=TabularMLP(widths=(256, 256), cell_width=16, frequencies=24, sigma=0.3, members=4),
    task=Regression(),
    optim=AdamW(lr=2e-3, weight_decay=0.02, schedule=Cosine(), ema_decay=0.995),
    loop=Loop(epochs=50, log_every=100, eval_every=500, save_every=1000, monitor="rmse", keep_best=False),
)
