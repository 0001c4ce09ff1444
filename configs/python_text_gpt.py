"""The standard library's own source, byte by byte, a small GPT: text that every Python brings along.

The text is that of the running interpreter, so the figure stands beside its fingerprint in schema.json.

command   jaxnets train configs/python_text_gpt.py
hardware  two CPU cores, about 6 minutes
expected  at most 1.9 bits per byte on the test split (1.79 on the text of Python 3.11.7, sha256 51866472…)
table     the standard library's source | ≤ 1.9 bits per byte
"""

from jaxnets.config import Experiment
from jaxnets.data import Data
from jaxnets.loop import Loop
from jaxnets.models import GPT
from jaxnets.optim import AdamW, Cosine
from jaxnets.tasks import LanguageModelling

experiment = Experiment(
    data=Data(source="python_text", batch_size=32, context=128),
    model=GPT(context=128, width=128, depth=4, heads=4),
    task=LanguageModelling(),
    optim=AdamW(lr=3e-3, b2=0.99, weight_decay=0.1, clip_norm=1.0, schedule=Cosine(warmup_steps=100)),
    loop=Loop(steps=2000, log_every=100, eval_every=500, save_every=500),
)
