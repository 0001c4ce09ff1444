"""Pictures of two coloured shapes and what a text says of them (synthetic), two small towers.

source    Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021
command   jaxnets train configs/shapes_two_tower.py
hardware  two CPU cores, minutes
expected  TODO
table     drawn by the program | TODO
"""

from jaxnets.config import Experiment
from jaxnets.data import Data, Texts
from jaxnets.loop import Loop
from jaxnets.models import TwoTower
from jaxnets.optim import AdamW, Cosine
from jaxnets.tasks import Contrastive

experiment = Experiment(
    data=Data(source="synthetic:captions/32x32/8192", batch_size=128, context=12, texts=Texts(tokenizer="plain")),
    model=TwoTower(embedding=64, channels=(16, 32), hidden=128, width=64, depth=2),
    task=Contrastive(),
    optim=AdamW(lr=2e-3, weight_decay=0.05, schedule=Cosine(warmup_steps=50)),
    loop=Loop(steps=400, log_every=50, eval_every=100, save_every=200, monitor="image_to_text_recall_1"),
)
