"""Fit a tabular model to an invented regression problem and predict the test rows, as the README shows.

fix: 8a9a4e71
depth: live 60
expects: TW356
where: pytorch_tabular/tabular_model.py
stands in: pandas, category_encoders, pytorch_tabnet, and what pytorch_lightning has renamed or lost since version 1.0
"""

import functools

import numpy as np
import pytorch_lightning as pl
import torch
import torchmetrics
from stand_ins import stand_in


class Table(dict):
    columns = property(list)
    loc = property(lambda self: self)
    values = property(lambda self: np.stack([self[name] for name in self], axis=1))
    shape = property(lambda self: self.values.shape)

    def __len__(self):
        return self.shape[0]

    def __array__(self, dtype=None, copy=None):
        return self.values.astype(dtype or float)

    def __getitem__(self, key):
        key = key[1] if isinstance(key, tuple) else key
        return super().__getitem__(key) if isinstance(key, str) else Table({name: self[name] for name in key})

    def __setitem__(self, key, value):
        if isinstance(key, str):
            super().__setitem__(key, value)
        else:
            self.update({name: value[:, i] for i, name in enumerate(key[1])})

    def copy(self):
        return Table(self)

    def astype(self, dtype):
        return Table({name: self[name].astype(dtype) for name in self})


class Trainer(pl.Trainer):
    def __init__(self, logger=None, callbacks=None, max_epochs=1, min_epochs=1, **old):
        super().__init__(logger=logger, callbacks=callbacks, max_epochs=max_epochs, min_epochs=min_epochs)
        vars(self).update(max_epochs=max_epochs, min_epochs=min_epochs)


stand_in("pandas")
stand_in("pandas.tseries")
stand_in("pandas.tseries.frequencies")
stand_in("category_encoders")
stand_in("pytorch_tabnet.tab_network")
stand_in("pytorch_lightning.utilities.cloud_io", load=functools.partial(torch.load, weights_only=False))
pl.metrics, pl.Trainer = torchmetrics, Trainer
from pytorch_tabular import TabularModel
from pytorch_tabular.config import DataConfig, ExperimentConfig, OptimizerConfig, TrainerConfig
from pytorch_tabular.models import BaseModel, CategoryEmbeddingModelConfig

del BaseModel.validation_epoch_end
COLUMNS = [f"feature{i}" for i in range(6)]


def invent(size):
    features = np.random.lognormal(size=(size, len(COLUMNS)))
    target = features @ np.array([1.0, 0.5, 0.0, 2.0, 0.3, 0.0]) + np.random.randn(size) * 0.2
    return Table({**dict(zip(COLUMNS, features.T, strict=True)), "target": target})


tabular_model = TabularModel(
    data_config=DataConfig(target=["target"], continuous_cols=COLUMNS),
    model_config=CategoryEmbeddingModelConfig(task="regression", layers="32-16", learning_rate=1e-2),
    optimizer_config=OptimizerConfig(),
    trainer_config=TrainerConfig(batch_size=32, max_epochs=5),
    experiment_config=ExperimentConfig(project_name="invented", log_target="tensorboard"),
)
tabular_model.fit(train=invent(300), validation=invent(70))
predicted = tabular_model.predict(invent(75))
print(np.abs(predicted["target_prediction"] - predicted["target"]).mean())
