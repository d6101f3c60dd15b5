"""Fit the TCTS forecasting model to invented price series and their returns over three horizons.

fix: 30b53108
depth: live 60
expects: -
where: program
stands in: pandas and the rest of qlib (data sets, log)
"""

import logging
import tempfile
from importlib.machinery import ModuleSpec
from types import SimpleNamespace

import numpy as np
import torch
from stand_ins import load, stand_in


class Frame(dict):
    empty = False


def make_part(count):
    returns = torch.randn(count, 10 + 3) * 0.5 + torch.randn(count, 1) * 0.4
    features = torch.stack([returns[:, :10] + torch.randn(count, 10) * 0.2 for _ in range(6)], 1)
    labels = torch.stack([returns[:, 10 : 10 + horizon].mean(1) for horizon in (1, 2, 3)], 1)
    return Frame(
        feature=SimpleNamespace(values=features.reshape(count, 60).numpy()),
        label=SimpleNamespace(values=labels.numpy()),
    )


class Prices:
    def __init__(self):
        self.parts = {"train": make_part(300), "valid": make_part(120), "test": make_part(120)}

    def prepare(self, parts, col_set, data_key):
        return [self.parts[part] for part in parts]


stand_in("pandas", __spec__=ModuleSpec("pandas", None))
stand_in("qlib.utils")
stand_in("qlib.log", get_module_logger=logging.getLogger)
stand_in("qlib.model.base", Model=type("Model", (), {}))
stand_in("qlib.data.dataset", DatasetH=Prices)
stand_in("qlib.data.dataset.handler", DataHandlerLP=SimpleNamespace(DK_L="learn"))
TCTS = load("qlib/contrib/model/pytorch_tcts.py").TCTS

torch.manual_seed(0)
np.random.seed(0)
model = TCTS(
    d_feat=6, hidden_size=16, num_layers=2, dropout=0.1, n_epochs=4, batch_size=40, early_stop=20, input_dim=60,
    output_dim=3, fore_lr=2e-3, weight_lr=2e-3, steps=2, target_label=0, mode="soft", seed=0,
    lowest_valid_performance=5.0,
)  # fmt: skip
model.fit(Prices(), save_path=tempfile.mkdtemp() + "/tcts")
