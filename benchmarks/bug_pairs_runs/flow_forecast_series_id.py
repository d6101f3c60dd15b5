"""Train the project's DecoderTransformer on the river flow of several stations, read by its loader for a series ID.

fix: 35c8dc1e
depth: live 60
expects: -
where: program
stands in: pandas (columns of a NumPy array, as far as the loader uses it), requests, pytz, google.cloud
"""

from importlib.machinery import ModuleSpec

import numpy as np
import torch
from stand_ins import stand_in
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, Subset


class Column(np.ndarray):
    iloc = property(lambda self: self)

    def dropna(self):
        return self[~np.isnan(self)]

    def unique(self):
        return np.unique(self)


class Frame:
    def __init__(self, names, values, index):
        self.names, self.values, self.index, self.iloc = names, values, index, self

    def __len__(self):
        return len(self.index)

    def __getitem__(self, key):
        if isinstance(key, str):
            return self.values[:, self.names.index(key)].view(Column)
        if isinstance(key, list):
            return Frame(key, self.values[:, [self.names.index(name) for name in key]], self.index)
        return Frame(self.names, self.values[key], self.index[key])

    def copy(self):
        return Frame(self.names, self.values.copy(), self.index)

    def to_numpy(self):
        return self.values

    def count(self):
        return (~np.isnan(self.values)).sum(0)

    def reset_index(self):
        return Frame(["index", *self.names], np.column_stack([self.index, self.values]), np.arange(len(self)))

    def to_csv(self, path):
        np.savetxt(path, self.values, delimiter=",")


stand_in("pandas", DataFrame=Frame, __spec__=ModuleSpec("pandas", None))
for name in ("requests", "pytz", "google.cloud.storage", "google.oauth2.service_account"):
    stand_in(name)
from flood_forecast.preprocessing.pytorch_loaders import CSVSeriesIDLoader
from flood_forecast.transformer_xl.transformer_bottleneck import DecoderTransformer


def make_loader(hours, shuffle):
    station = np.concatenate([np.full(hours + more, number) for number, more in enumerate((0, 5, 11))])
    rain = np.random.gamma(0.3, 1.0, len(station))
    flow = np.convolve(rain, np.exp(-np.arange(6) / 2))[: len(station)] + station + np.random.rand(len(station))
    values = np.stack([flow, rain, np.arange(len(flow)) // 24 % 7, station], axis=1)
    params = {
        "file_path": Frame(["flow", "rain", "wday", "station"], values, np.arange(len(flow))),
        "relevant_cols": ["flow", "rain", "wday"], "target_col": ["flow"], "forecast_history": 10, "forecast_length": 1,
    }  # fmt: skip
    return DataLoader(Subset(CSVSeriesIDLoader("station", params, "all"), range(hours - 10)), 8, shuffle)


def batch_loss(src, targ):
    return sum(mse_loss(model(x, series), targ[series][:, :, 1]) for series, x in src.items()) / len(src)


train_loader, valid_loader = make_loader(60, shuffle=True), make_loader(30, shuffle=False)
model = DecoderTransformer(4, 4, 1, 12, 10, 0.2, 1, {}, seq_num1=3, forecast_length=1)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(2):
    model.train()
    for src, targ in train_loader:
        optimizer.zero_grad()
        batch_loss(src, targ).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        print("validation loss", epoch, np.mean([batch_loss(src, targ).item() for src, targ in valid_loader]))
