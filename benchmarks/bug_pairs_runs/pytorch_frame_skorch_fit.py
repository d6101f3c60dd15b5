"""Fit the project's skorch net on a table of features and predict with it.

fix: eca19053
depth: live 60
expects: -
where: program
stands in: pandas (a table of numpy arrays) and dateutil
needs: skorch, tabulate
"""

import sys

import numpy as np
import torch
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import train_test_split
from stand_ins import stand_in
from torch import nn


class Series(np.ndarray):
    iloc = property(lambda self: self)
    values = property(np.asarray)

    def isin(self, values):
        return np.isin(self, values)

    def isnull(self):
        return self != self

    isna = isnull

    def dropna(self):
        return self[self == self]

    def mask(self, where, value):
        return np.where(where, value, self).view(Series)

    def value_counts(self):
        return np.unique(self, return_counts=True)[1]


class DataFrame(dict):
    def __init__(self, columns, index):
        super().__init__({name: np.array(values).view(Series) for name, values in columns.items()})
        self.index = index.view(Series)

    columns = property(list)
    iloc = property(lambda self: self)

    def __len__(self):
        return len(self.index)

    def __getitem__(self, key):
        return super().__getitem__(key) if isinstance(key, str) else self.take(key)

    def __setitem__(self, name, values):
        super().__setitem__(name, np.array(values).view(Series))

    def take(self, rows, axis=0):
        return DataFrame({name: values[rows] for name, values in self.items()}, self.index[rows])

    def copy(self):
        return DataFrame(self, self.index)


stand_in("dateutil.parser", ParserError=ValueError)
kinds = {"is_numeric_dtype": "biuf", "is_float_dtype": "f"}
stand_in("pandas.api.types", **{name: lambda values, of=of: values.dtype.kind in of for name, of in kinds.items()})
stand_in("pandas", DataFrame=DataFrame, Series=Series, api=sys.modules["pandas.api"])
from torch_frame.nn.models.mlp import MLP
from torch_frame.utils.skorch import NeuralNetPytorchFrame

del sys.modules["pandas"]  # lest scikit-learn take it for the real one


class SquaredError(nn.MSELoss):
    def forward(self, predicted, target):
        return super().forward(predicted.squeeze(-1), target)


def make_mlp(*, col_stats, col_names_dict):
    return MLP(channels=8, out_channels=1, num_layers=3, col_stats=col_stats, col_names_dict=col_names_dict)


table = np.random.randn(150, 5)
target = table @ np.random.randn(5) + 0.1 * np.random.randn(150)
train, test = train_test_split(np.arange(150), test_size=0.2)
train_frame, test_frame = (DataFrame({f"x{i}": table[rows, i] for i in range(5)}, rows) for rows in (train, test))
net = NeuralNetPytorchFrame(make_mlp, SquaredError(), torch.optim.Adam, lr=0.01, max_epochs=3, batch_size=7)
net.fit(train_frame, target[train])
print(mean_squared_error(target[test], net.predict(test_frame)))
