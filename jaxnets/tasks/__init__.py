"""What is learned: each factory gives a `Task`; beside each stands its config."""

from jaxnets.tasks.autoencoding import Autoencoding as Autoencoding
from jaxnets.tasks.autoencoding import autoencoding as autoencoding
from jaxnets.tasks.classification import Classification as Classification
from jaxnets.tasks.classification import CrossEntropy as CrossEntropy
from jaxnets.tasks.classification import GeneralizedCrossEntropy as GeneralizedCrossEntropy
from jaxnets.tasks.classification import SymmetricCrossEntropy as SymmetricCrossEntropy
from jaxnets.tasks.classification import classification as classification
from jaxnets.tasks.contrastive import contrastive as contrastive
from jaxnets.tasks.distillation import Distillation as Distillation
from jaxnets.tasks.distillation import Teacher as Teacher
from jaxnets.tasks.distillation import distilled as distilled
from jaxnets.tasks.forecasting import Forecasting as Forecasting
from jaxnets.tasks.forecasting import forecasting as forecasting
from jaxnets.tasks.language_modelling import LanguageModelling as LanguageModelling
from jaxnets.tasks.language_modelling import language_modelling as language_modelling
from jaxnets.tasks.mean import mean_metric as mean_metric
from jaxnets.tasks.multi_label import MultiLabel as MultiLabel
from jaxnets.tasks.multi_label import multi_label as multi_label
from jaxnets.tasks.ordinal import Ordinal as Ordinal
from jaxnets.tasks.ordinal import ordinal as ordinal
from jaxnets.tasks.quantile_regression import QuantileRegression as QuantileRegression
from jaxnets.tasks.quantile_regression import quantile_regression as quantile_regression
from jaxnets.tasks.regression import Regression as Regression
from jaxnets.tasks.regression import regression as regression
from jaxnets.tasks.segmentation import Segmentation as Segmentation
from jaxnets.tasks.segmentation import segmentation as segmentation
