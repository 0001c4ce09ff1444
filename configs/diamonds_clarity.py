"""How clear a diamond is, in eight grades in their order, from its price and measures: ordinal classification.

source    the rows that ship with ggplot2, as in mwaskom/seaborn-data; the task is that of McCullagh, 1980 (see
          jaxnets/tasks/ordinal.py)
data      diamonds.csv in JAXNETS_DATA
command   JAXNETS_DATA=FOLDER jaxnets train configs/diamonds_clarity.py
plain     … --task classification learns the same grades without their order
splits    … --data.split_seed 1, as scikit-learn's train_test_split with test_size 0.2 and that random_state
hardware  two CPU cores
expected  test MAE at most 0.42 grades (of eight), and a higher accuracy than plain classification
measured  0.4126 grades and 0.6337 (data.split_seed 0 to 3); plain classification 0.4335 and 0.6281, by
          experiments/ordinal_study.py
table     `diamonds.csv` in `JAXNETS_DATA` | MAE ≤ 0.42 grades of 8; plain classification has 0.433
"""

from jaxnets.config import Experiment
from jaxnets.data import Columns, Data
from jaxnets.loop import Loop
from jaxnets.models import TabularMLP
from jaxnets.optim import AdamW, Cosine
from jaxnets.tasks import Ordinal

experiment = Experiment(
    data=Data(
        source="table:diamonds.csv",
        target="clarity",
        columns=Columns(classes=("I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF")),  # the worst first
        batch_size=512,
        valid=0.02,
        split_by="sklearn",
    ),
    model=TabularMLP(widths=(256, 256), cell_width=16, frequencies=16, sigma=0.2, members=4),
    task=Ordinal(),
    optim=AdamW(lr=2e-3, weight_decay=0.02, schedule=Cosine(), ema_decay=0.995),
    loop=Loop(epochs=20, log_every=100, eval_every=500, save_every=1000, monitor="nll", keep_best=False),
)
