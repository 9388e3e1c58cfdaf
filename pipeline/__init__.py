"""Hyperparameter search and honest ablations for image classification: all that a study file, a
script or a notebook needs, by `from pipeline import …`.

A name is looked up when it is first used: `import pipeline` loads nothing. `search`, `ablate` and
`report` are modules, since `python -m pipeline.search` is a command, and are called like functions.
"""

import importlib
import inspect
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what type checkers and editors see; HOMES is what Python sees
    from pipeline.core.augmentation.config import Crops as Crops
    from pipeline.core.augmentation.config import Notes as Notes
    from pipeline.core.augmentation.config import Photos as Photos
    from pipeline.core.augmentation.config import Rand as Rand
    from pipeline.core.augmentation.config import Trivial as Trivial
    from pipeline.core.config import TrainConfig as TrainConfig
    from pipeline.core.finished.final import Final as Final
    from pipeline.core.finished.final import Half as Half
    from pipeline.core.finished.final import Int8Dynamic as Int8Dynamic
    from pipeline.core.finished.final import Int8Static as Int8Static
    from pipeline.core.finished.final import NoCompression as NoCompression
    from pipeline.core.finished.final import Prune as Prune
    from pipeline.core.losses import MSE as MSE
    from pipeline.core.losses import CrossEntropy as CrossEntropy
    from pipeline.core.losses import Focal as Focal
    from pipeline.core.metrics import AUROC as AUROC
    from pipeline.core.metrics import ECE as ECE
    from pipeline.core.metrics import BalancedAcc as BalancedAcc
    from pipeline.core.metrics import LogLoss as LogLoss
    from pipeline.core.metrics import MacroF1 as MacroF1
    from pipeline.core.metrics import TopK as TopK
    from pipeline.core.models.alexnet import AlexNet as AlexNet
    from pipeline.core.models.attention import CBAMResNet as CBAMResNet
    from pipeline.core.models.attention import SEResNet as SEResNet
    from pipeline.core.models.cnn import CNN as CNN
    from pipeline.core.models.convnext import ConvNeXt as ConvNeXt
    from pipeline.core.models.dense import DenseBlocks as DenseBlocks
    from pipeline.core.models.densenet import DenseNet as DenseNet
    from pipeline.core.models.efficientnet import EfficientNet as EfficientNet
    from pipeline.core.models.googlenet import GoogLeNet as GoogLeNet
    from pipeline.core.models.lenet import LeNet as LeNet
    from pipeline.core.models.mlp import MLP as MLP
    from pipeline.core.models.mobilenet import MobileNet as MobileNet
    from pipeline.core.models.nin import NiN as NiN
    from pipeline.core.models.res2net import Res2Net as Res2Net
    from pipeline.core.models.resnet import ResNet as ResNet
    from pipeline.core.models.resnet import ResNet18 as ResNet18
    from pipeline.core.models.resnet_cifar import CifarResNet as CifarResNet
    from pipeline.core.models.resnext import ResNeXt as ResNeXt
    from pipeline.core.models.shufflenet import ShuffleNet as ShuffleNet
    from pipeline.core.models.timm_arch import Timm as Timm
    from pipeline.core.models.vgg import VGG as VGG
    from pipeline.core.models.vit import ViT as ViT
    from pipeline.core.optimizers import LAMB as LAMB
    from pipeline.core.optimizers import SGD as SGD
    from pipeline.core.optimizers import Adagrad as Adagrad
    from pipeline.core.optimizers import Adam as Adam
    from pipeline.core.optimizers import AdamW as AdamW
    from pipeline.core.optimizers import Lion as Lion
    from pipeline.core.optimizers import NAdam as NAdam
    from pipeline.core.optimizers import RAdam as RAdam
    from pipeline.core.optimizers import RMSprop as RMSprop
    from pipeline.core.regularize import Adversary as Adversary
    from pipeline.core.regularize import Attack as Attack
    from pipeline.core.regularize import Distill as Distill
    from pipeline.core.regularize import Pseudo as Pseudo
    from pipeline.core.schedules import Constant as Constant
    from pipeline.core.schedules import Cosine as Cosine
    from pipeline.core.schedules import Exponential as Exponential
    from pipeline.core.schedules import OneCycle as OneCycle
    from pipeline.core.schedules import Plateau as Plateau
    from pipeline.core.schedules import Step as Step
    from pipeline.core.schedules import WarmRestarts as WarmRestarts
    from pipeline.core.setup import Inputs as Inputs
    from pipeline.core.train import Result as Result
    from pipeline.core.train import train as train
    from pipeline.core.transfer import Transfer as Transfer
    from pipeline.data.datasets.csv import Csv as Csv
    from pipeline.data.datasets.digits import Digits as Digits
    from pipeline.data.datasets.folder import Folder as Folder
    from pipeline.data.datasets.huggingface import HuggingFace as HuggingFace
    from pipeline.data.datasets.idx import Idx as Idx
    from pipeline.data.datasets.npz import Npz as Npz
    from pipeline.data.datasets.torchvision import Torchvision as Torchvision
    from pipeline.errors import MachineError as MachineError
    from pipeline.errors import PipelineError as PipelineError
    from pipeline.errors import UserError as UserError
    from pipeline.own.parts import Own as Own
    from pipeline.session.calls import Outcome as Outcome
    from pipeline.session.calls import ablate as ablate
    from pipeline.session.calls import load_inputs as load_inputs
    from pipeline.session.calls import report as report
    from pipeline.session.calls import search as search
    from pipeline.session.opened import OpenedRecord as OpenedRecord
    from pipeline.session.opened import open_record as open_record
    from pipeline.study.designs import AddOneIn as AddOneIn
    from pipeline.study.designs import Arm as Arm
    from pipeline.study.designs import Arms as Arms
    from pipeline.study.designs import Auto as Auto
    from pipeline.study.designs import Both as Both
    from pipeline.study.designs import Crossed as Crossed
    from pipeline.study.designs import Factorial as Factorial
    from pipeline.study.designs import Fractional as Fractional
    from pipeline.study.designs import Ladder as Ladder
    from pipeline.study.designs import LeaveOneOut as LeaveOneOut
    from pipeline.study.designs import OrderedPath as OrderedPath
    from pipeline.study.load import load_study as load_study
    from pipeline.study.ranges import Choice as Choice
    from pipeline.study.ranges import Float as Float
    from pipeline.study.ranges import Int as Int
    from pipeline.study.space import Space as Space
    from pipeline.study.study import Ablation as Ablation
    from pipeline.study.study import Fallback as Fallback
    from pipeline.study.study import Search as Search
    from pipeline.study.study import Study as Study
    from pipeline.study.tuning import Fixed as Fixed
    from pipeline.study.tuning import PerArm as PerArm
    from pipeline.study.tuning import Replicated as Replicated

HOMES = {
    "pipeline.core.augmentation.config": "Crops Notes Photos Rand Trivial",
    "pipeline.core.config": "TrainConfig",
    "pipeline.core.finished.final": "Final Half Int8Dynamic Int8Static NoCompression Prune",
    "pipeline.core.losses": "CrossEntropy Focal MSE",
    "pipeline.core.metrics": "AUROC BalancedAcc ECE LogLoss MacroF1 TopK",
    "pipeline.core.models.alexnet": "AlexNet",
    "pipeline.core.models.attention": "CBAMResNet SEResNet",
    "pipeline.core.models.cnn": "CNN",
    "pipeline.core.models.convnext": "ConvNeXt",
    "pipeline.core.models.dense": "DenseBlocks",
    "pipeline.core.models.densenet": "DenseNet",
    "pipeline.core.models.efficientnet": "EfficientNet",
    "pipeline.core.models.googlenet": "GoogLeNet",
    "pipeline.core.models.lenet": "LeNet",
    "pipeline.core.models.mlp": "MLP",
    "pipeline.core.models.mobilenet": "MobileNet",
    "pipeline.core.models.nin": "NiN",
    "pipeline.core.models.res2net": "Res2Net",
    "pipeline.core.models.resnet": "ResNet ResNet18",
    "pipeline.core.models.resnet_cifar": "CifarResNet",
    "pipeline.core.models.resnext": "ResNeXt",
    "pipeline.core.models.shufflenet": "ShuffleNet",
    "pipeline.core.models.timm_arch": "Timm",
    "pipeline.core.models.vgg": "VGG",
    "pipeline.core.models.vit": "ViT",
    "pipeline.core.optimizers": "Adagrad Adam AdamW LAMB Lion NAdam RAdam RMSprop SGD",
    "pipeline.core.regularize": "Adversary Attack Distill Pseudo",
    "pipeline.core.schedules": "Constant Cosine Exponential OneCycle Plateau Step WarmRestarts",
    "pipeline.core.setup": "Inputs",
    "pipeline.core.train": "Result train",
    "pipeline.core.transfer": "Transfer",
    "pipeline.data.datasets.csv": "Csv",
    "pipeline.data.datasets.digits": "Digits",
    "pipeline.data.datasets.folder": "Folder",
    "pipeline.data.datasets.huggingface": "HuggingFace",
    "pipeline.data.datasets.idx": "Idx",
    "pipeline.data.datasets.npz": "Npz",
    "pipeline.data.datasets.torchvision": "Torchvision",
    "pipeline.errors": "MachineError PipelineError UserError",
    "pipeline.own.parts": "Own",
    "pipeline.session.calls": "Outcome ablate load_inputs report search",
    "pipeline.session.opened": "OpenedRecord open_record",
    "pipeline.study.designs": "AddOneIn Arm Arms Auto Both Crossed Factorial Fractional Ladder "
    "LeaveOneOut OrderedPath",
    "pipeline.study.load": "load_study",
    "pipeline.study.ranges": "Choice Float Int",
    "pipeline.study.space": "Space",
    "pipeline.study.study": "Ablation Fallback Search Study",
    "pipeline.study.tuning": "Fixed PerArm Replicated",
}
"""Module → the names that it gives."""

_HOME = {name: module for module, names in HOMES.items() for name in names.split()}
__all__ = sorted(_HOME)
COMMANDS = ("ablate", "report", "search")


def __getattr__(name: str) -> Any:
    if name in COMMANDS:
        return importlib.import_module(f"pipeline.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'pipeline' has no attribute '{name}'")
    globals()[name] = found = getattr(importlib.import_module(_HOME[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Command(types.ModuleType):
    """The module of a command: called, it is the function of its name in `session/calls.py`."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._function()(*args, **options)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function())

    def _function(self) -> Any:
        name = self.__name__.rpartition(".")[2]
        return getattr(importlib.import_module(_HOME[name]), name)


class _Package(types.ModuleType):
    """This package: a command's module can be called from when it is imported, by whomever."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in COMMANDS and isinstance(value, types.ModuleType):
            value.__class__ = _Command
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
