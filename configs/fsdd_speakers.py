"""Spoken digits of a speaker who was never heard, 8 kHz, six speakers (fsdd.tar in JAXNETS_DATA).

source    Free Spoken Digit Dataset (Jakobovski et al., 2016); each speaker in turn is left out of training and tested
command   JAXNETS_DATA=FOLDER jaxnets train configs/fsdd_speakers.py --folds 6
hardware  two CPU cores: two to four minutes a speaker, beside other work
expected  0.85 of the recordings of a speaker left out, mean over the six; another one validates, four are learned from
measured  0.880, one seed: 0.878, 0.892, 0.896, 0.780, 0.934, 0.900
table     `fsdd.tar` in `JAXNETS_DATA` | ≥ 0.85 for speakers never heard
"""

from jaxnets.config import Experiment
from jaxnets.data import Audio, Data, Filter, Noise, Shift, SpecAugment, SpectrumWarp, Speed
from jaxnets.loop import Loop
from jaxnets.models import AudioResNet
from jaxnets.optim import AdamW, OneCycle
from jaxnets.tasks import Classification

experiment = Experiment(
    data=Data(
        source="audio:fsdd.tar",
        names="{label}_{speaker}_{index}.wav",
        split_by="group:speaker",
        audio=Audio(rate=8000, seconds=1.0, mels=32, frame_seconds=0.032, hop_seconds=0.025, range_db=60.0),
        batch_size=32,
        valid=0.05,
        augment=(
            Shift(share=0.1),
            Speed(rate_change=0.15),
            Filter(decibels=9.0),
            Noise(least_db=15.0, most_db=50.0),
            SpectrumWarp(time_change=0.15, mel_change=0.05),
            SpecAugment(),
        ),
    ),
    model=AudioResNet(width=16, dropout=0.2),
    task=Classification(label_smoothing=0.1),
    optim=AdamW(lr=3e-3, weight_decay=0.05, schedule=OneCycle(rise=0.25), clip_norm=1.0, ema_decay=0.99),
    loop=Loop(epochs=30, log_every=200, eval_every=800, save_every=800, monitor="nll", keep_best=False),
)
