"""Spoken digits, 8 kHz, six speakers (fsdd.tar in JAXNETS_DATA).

source    Free Spoken Digit Dataset (Jakobovski et al., 2016); recordings 0 to 4 of each digit and speaker are the test
command   JAXNETS_DATA=FOLDER jaxnets train configs/fsdd.py
speakers  … --folds 6 --data.split_by group:speaker leaves one out after the other; another one validates
hardware  two CPU cores, minutes: 150 CPU seconds
expected  0.98 of the test recordings; speakers who were never heard have a recipe of their own, fsdd_speakers.py
measured  0.9933 of the 300 test recordings, one seed; 0.839 of speakers never heard (0.636 to 0.980)
table     `fsdd.tar` in `JAXNETS_DATA` | ≥ 0.98
"""

from jaxnets.config import Experiment
from jaxnets.data import Audio, Data, Shift, SpecAugment, SpectrumWarp
from jaxnets.loop import Loop
from jaxnets.models import AudioResNet
from jaxnets.optim import AdamW, OneCycle
from jaxnets.tasks import Classification

experiment = Experiment(
    data=Data(
        source="audio:fsdd.tar",
        names="{label}_{speaker}_{index}.wav",
        split_by="where:index=[0-4]",
        audio=Audio(rate=8000, seconds=1.0, mels=40, frame_seconds=0.032, hop_seconds=0.02, range_db=60.0),
        batch_size=64,
        valid=0.05,
        augment=(Shift(share=0.1), SpectrumWarp(time_change=0.2, mel_change=0.15), SpecAugment()),
    ),
    model=AudioResNet(width=24, dropout=0.2),
    task=Classification(label_smoothing=0.1),
    optim=AdamW(lr=4e-3, weight_decay=0.05, schedule=OneCycle(rise=0.25), clip_norm=1.0),
    loop=Loop(epochs=25, log_every=50, eval_every=200, save_every=400, monitor="nll", keep_best=False),
)
