"""Train the project's LSTM on the flow of one river, then carry its weights over to another river and train on.

fix: dbbae17a
depth: live 60
expects: TW319
where: flood_forecast/time_model.py
stands in: pandas (columns of a NumPy array, as far as the loader uses it), wandb, numba, requests, pytz, google.cloud
"""

from importlib.machinery import ModuleSpec

import numpy as np
import torch
from stand_ins import stand_in


class Frame:
    def __init__(self, names, values):
        self.names, self.values, self.index = names, values, np.arange(len(values))

    iloc = property(lambda self: self)

    def __len__(self):
        return len(self.index)

    def __getitem__(self, key):
        if isinstance(key, list):
            return Frame(key, self.values[:, [self.names.index(name) for name in key]])
        return Frame(self.names, self.values[key])

    def copy(self):
        return Frame(self.names, self.values.copy())

    def to_numpy(self):
        return self.values

    def count(self):
        return (~np.isnan(self.values)).sum(0)

    def to_csv(self, path):
        np.savetxt(path, self.values, delimiter=",")


def read_csv(path):
    with open(path) as file:
        names = file.readline().strip().split(",")
        return Frame(names, np.loadtxt(file, delimiter=","))


stand_in("pandas", DataFrame=Frame, read_csv=read_csv, __spec__=ModuleSpec("pandas", None))
stand_in("numba", jit=lambda **options: lambda function: function)
for name in ("wandb", "requests", "pytz", "google.cloud.storage", "google.oauth2.service_account"):
    stand_in(name)
from flood_forecast.pytorch_training import train_transformer_style
from flood_forecast.time_model import PyTorchForecast


def write_river(path, hours, delay):
    rain = np.random.gamma(0.3, 1.0, hours)
    flow = np.convolve(rain, np.exp(-np.arange(8) / delay))[:hours] + 0.1 * np.random.rand(hours)
    np.savetxt(path, np.stack([flow, rain], axis=1), delimiter=",", header="cfs,precip", comments="")


def train(path, **more):
    params = {
        "model_name": "LSTM",
        "model_params": {"seq_length": 10, "n_time_series": 2, "output_seq_len": 3, "hidden_states": 12},
        "dataset_params": {
            "class": "default", "num_workers": 0, "forecast_history": 10, "forecast_length": 3,
            "relevant_cols": ["cfs", "precip"], "target_col": ["cfs"],
            "train_end": 90, "valid_start": 90, "valid_end": 125, "test_start": 125, "test_end": 150,
        },
        "training_params": {
            "criterion": "MSE", "optimizer": "Adam", "optim_params": {"lr": 0.003}, "epochs": 2, "batch_size": 8,
        },
        "metrics": ["MSE"], "wandb": False, "GCS": False, **more,
    }  # fmt: skip
    model = PyTorchForecast(params["model_name"], path, path, path, params)
    train_transformer_style(model, params["training_params"])
    return model


write_river("first_river.csv", 150, delay=2)
write_river("second_river.csv", 150, delay=4)
model = train("first_river.csv")
torch.save(model.model.state_dict(), "first_river.pth")
train("second_river.csv", weight_path="first_river.pth", weight_path_add={"frozen_layers": ["lstm"]})
