"""Run the project's own example that trains an FT-Transformer, on an invented table of numbers and categories.

fix: 185b5435
depth: live 60
expects: -
where: program
stands in: pandas, category_encoders, the downloaded data set
"""

import runpy
import sys
from importlib.machinery import ModuleSpec
from types import SimpleNamespace

import numpy as np
import torch
from stand_ins import HERE, stand_in

stand_in("pandas", __spec__=ModuleSpec("pandas", None))
stand_in("pandas.api.types")
stand_in("category_encoders")
import torch_frame.datasets
from torch_frame import TensorFrame, stype
from torch_frame.data.stats import StatType

ROWS = {"train": 150, "val": 50, "test": 50}
NAMES = {stype.categorical: ["C_feature_0", "C_feature_1"], stype.numerical: [f"N_feature_{i}" for i in range(4)]}


class Yandex:
    classification_datasets = {"adult", "helena", "jannis"}
    num_classes = 2

    def __init__(self, root, name):
        self.col_stats = {name: {StatType.COUNT: (list(range(5)), [50] * 5)} for name in NAMES[stype.categorical]}
        quantiles = np.quantile(np.random.randn(250), [0, 0.25, 0.5, 0.75, 1]).tolist()
        for name in NAMES[stype.numerical]:
            self.col_stats[name] = {StatType.MEAN: 0.0, StatType.STD: 1.0, StatType.QUANTILES: quantiles}

    def materialize(self):
        return self

    def get_split_dataset(self, split):
        categories, numbers = torch.randint(5, (ROWS[split], 2)), torch.randn(ROWS[split], 4)
        label = (numbers[:, 0] + categories[:, 0] + torch.randn(ROWS[split]) > 2).long()
        features = {stype.categorical: categories, stype.numerical: numbers}
        return SimpleNamespace(tensor_frame=TensorFrame(features, NAMES, label))


torch_frame.datasets.Yandex = Yandex
script = str(HERE / "examples/revisiting.py")
sys.argv = [script, "--channels", "16", "--num_layers", "2", "--batch_size", "32", "--lr", "0.001", "--epochs", "3"]
runpy.run_path(script, run_name="__main__")
