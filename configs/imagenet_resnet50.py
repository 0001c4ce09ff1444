"""ImageNet-1k, ResNet-50 v1.5, 90 epochs.

source    ResNet50 v1.5 of NVIDIA's DeepLearningExamples: momentum 0.875, rate 0.256 a batch of 256, five epochs of
          warm-up (Goyal et al., 2017), a cosine, decay 1/32768 of the loss on kernels alone, smoothed labels; its decay
          goes through the momentum, ours does not, so that 8/32768 here is 1/32768 there
data      parquet files with encoded images in `image` and class numbers in `label`, as on the Hugging Face hub, in
          JAXNETS_DATA: imagenet/train-*.parquet, imagenet/validation-*.parquet (tested on, last)
command   JAXNETS_DATA=FOLDER jaxnets train configs/imagenet_resnet50.py
without   its data: --data.source synthetic:image/224x224x3/1000
topology  v5e:2x4
hardware  8 × A100, 3 hours in mixed precision (stated by its authors, not measured here)
expected  77.1 % (± 0.1) on the validation files (stated by its authors, not measured here)
departs   Nesterov's momentum, as most recipes of today; bfloat16 without a loss scale; batches of 1024, not 2048; one
          percent of the train files is held out
table     `imagenet/*.parquet` in `JAXNETS_DATA` | 77.1 % (stated by its authors, not measured here)
"""

from jaxnets.config import Experiment
from jaxnets.data import Data, Flip, Images
from jaxnets.loop import Loop
from jaxnets.models import ResNet50
from jaxnets.optim import SGD, Cosine
from jaxnets.tasks import Classification

experiment = Experiment(
    data=Data(
        source="images:imagenet/train-*.parquet,test=imagenet/validation-*.parquet",
        batch_size=1024,
        valid=0.01,
        images=Images(size=224, area=0.08, pool=16384),
        augment=(Flip(),),
    ),
    model=ResNet50(stem="imagenet", dtype="bfloat16"),
    task=Classification(label_smoothing=0.1),
    optim=SGD(
        lr=1.024,
        momentum=0.875,
        nesterov=True,
        weight_decay=8 / 32768,
        schedule=Cosine(warmup_steps=6200),
    ),
    loop=Loop(epochs=90, log_every=50, eval_every=2500, save_every=1000, monitor="accuracy", keep_best=False),
)
