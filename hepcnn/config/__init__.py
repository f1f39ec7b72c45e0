"""The schema of every configuration file: an unknown key or a bad value is a ``ConfigError`` that names the place.

A study is one YAML file. Nothing else in hepcnn reads YAML keys. No torch is imported here: Snakemake imports this
package when it parses the workflow.
"""

from hepcnn.config.evaluation import EvaluationConfig as EvaluationConfig
from hepcnn.config.evaluation import OtherSampleConfig as OtherSampleConfig
from hepcnn.config.images import Bounds as Bounds
from hepcnn.config.images import GroomConfig as GroomConfig
from hepcnn.config.images import ImagesConfig as ImagesConfig
from hepcnn.config.images import SelectionVariable as SelectionVariable
from hepcnn.config.recipes import AugmentConfig as AugmentConfig
from hepcnn.config.recipes import LossConfig as LossConfig
from hepcnn.config.recipes import NoiseConfig as NoiseConfig
from hepcnn.config.recipes import RangeConfig as RangeConfig
from hepcnn.config.recipes import StartConfig as StartConfig
from hepcnn.config.samples import ClusteringConfig as ClusteringConfig
from hepcnn.config.samples import GenerateConfig as GenerateConfig
from hepcnn.config.samples import LabelConfig as LabelConfig
from hepcnn.config.samples import SampleConfig as SampleConfig
from hepcnn.config.samples import ShowersConfig as ShowersConfig
from hepcnn.config.shipping import BundleConfig as BundleConfig
from hepcnn.config.study import StudyConfig as StudyConfig
from hepcnn.config.study import hash_config as hash_config
from hepcnn.config.study import read_study as read_study
from hepcnn.config.study import write_study as write_study
from hepcnn.config.tasks import EnergyLossConfig as EnergyLossConfig
from hepcnn.config.tracking import TrackingConfig as TrackingConfig
from hepcnn.config.tracking import reveal_password as reveal_password
from hepcnn.config.training import EarlyStoppingConfig as EarlyStoppingConfig
from hepcnn.config.training import LoaderConfig as LoaderConfig
from hepcnn.config.training import ModelConfig as ModelConfig
from hepcnn.config.training import SplitConfig as SplitConfig
from hepcnn.config.training import TrainingConfig as TrainingConfig
from hepcnn.config.training import WeightsConfig as WeightsConfig
from hepcnn.config.training import WeightVariable as WeightVariable
from hepcnn.records import StrictModel as StrictModel
from hepcnn.records import parse_model as parse_model
from hepcnn.records import read_model as read_model
from hepcnn.records import read_yaml as read_yaml
