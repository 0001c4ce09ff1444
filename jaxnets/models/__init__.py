"""Model functions: each factory gives a `Model`, a pair of pure functions; beside each stands its config."""

from jaxnets.models.audio_resnet import AudioResNet as AudioResNet
from jaxnets.models.audio_resnet import audio_resnet as audio_resnet
from jaxnets.models.cnn import CNN as CNN
from jaxnets.models.cnn import cnn as cnn
from jaxnets.models.gpt import GPT as GPT
from jaxnets.models.gpt import gpt as gpt
from jaxnets.models.linen import from_linen as from_linen
from jaxnets.models.linen import from_nnx as from_nnx
from jaxnets.models.mlp import MLP as MLP
from jaxnets.models.mlp import mlp as mlp
from jaxnets.models.resnet import ResNet9 as ResNet9
from jaxnets.models.resnet import ResNet18 as ResNet18
from jaxnets.models.resnet import ResNet34 as ResNet34
from jaxnets.models.resnet import ResNet50 as ResNet50
from jaxnets.models.resnet import resnet9 as resnet9
from jaxnets.models.resnet import resnet18 as resnet18
from jaxnets.models.resnet import resnet34 as resnet34
from jaxnets.models.resnet import resnet50 as resnet50
from jaxnets.models.tables import on_table as on_table
from jaxnets.models.vit import ViT as ViT
from jaxnets.models.vit import vit as vit
from jaxnets.models.vit import vit_b16 as vit_b16
from jaxnets.models.vit import vit_s16 as vit_s16
from jaxnets.models.vit import vit_ti16 as vit_ti16
from jaxnets.models.waveform_resnet import WaveformResNet as WaveformResNet
from jaxnets.models.waveform_resnet import waveform_resnet as waveform_resnet
