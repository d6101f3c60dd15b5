"""Train DeepAR with the project's trainer and loader, then draw forecasts with the project's predictor.

fix: 0a8e9fde
depth: live 60
expects: TW356
where: pts/model/forecast_generator.py
stands in: the transformation of the data sets, the class of a forecast (built on pandas)
"""

from types import SimpleNamespace

import numpy as np
import torch
from stand_ins import HERE, package, stand_in

package("pts", HERE / "pts")
stand_in("pts.transform")
names = {"FieldName": SimpleNamespace(ITEM_ID="item_id"), "DataEntry": dict, "Dataset": list}
stand_in("pts.dataset.common", **names)
vars(package("pts.dataset", HERE / "pts/dataset")).update(names)
from pts.dataset.loader import InferenceDataLoader, TrainDataLoader

vars(package("pts.dataset")).update(InferenceDataLoader=InferenceDataLoader, TrainDataLoader=TrainDataLoader)
package("pts.model", HERE / "pts/model")
from pts.model.utils import copy_parameters, get_module_forward_input_names, weighted_average

package("pts.model").weighted_average = weighted_average
package("pts.model.deepar", HERE / "pts/model/deepar")
stand_in("pts.model.forecast", SampleForecast=lambda samples, **about: SimpleNamespace(samples=samples, **about))
from pts.model.deepar.deepar_network import DeepARPredictionNetwork, DeepARTrainingNetwork
from pts.model.predictor import PTSPredictor
from pts.modules import StudentTOutput
from pts.trainer import Trainer

past, future = 21, 5


def windows(entries, is_train):
    for number, series in entries:
        at = np.random.randint(past, len(series) - future) if is_train else len(series) - future
        days = np.arange(at - past, at + future) * 2 * np.pi / 7
        features = np.stack([np.sin(days), np.cos(days)], axis=1)
        entry = {
            "feat_static_cat": np.array([number]), "feat_static_real": np.zeros(1),
            "past_time_feat": features[:past], "past_target": series[at - past : at],
            "past_observed_values": np.ones(past), "future_time_feat": features[past:], "forecast_start": at,
        }  # fmt: skip
        if is_train:
            entry.update(future_target=series[at : at + future], future_observed_values=np.ones(future))
        yield entry


np.random.seed(0)
torch.manual_seed(0)
dataset = []
for number in range(20):
    days = np.arange(np.random.randint(40, 90))
    dataset.append((number, 20 + number + 5 * np.sin(days * 2 * np.pi / 7) + np.random.randn(len(days))))
settings = {
    "input_size": 11, "num_layers": 2, "num_cells": 16, "cell_type": "LSTM", "history_length": past,
    "context_length": 14, "prediction_length": future, "distr_output": StudentTOutput(), "dropout_rate": 0.1,
    "cardinality": [20], "embedding_dimension": [3], "lags_seq": [1, 2, 3, 7],
}  # fmt: skip
device = torch.device("cpu")
trainer = Trainer(epochs=4, batch_size=16, num_batches_per_epoch=10, learning_rate=5e-3, device=device)
net = DeepARTrainingNetwork(**settings)
loader = TrainDataLoader(dataset, windows, trainer.batch_size, device, trainer.num_batches_per_epoch)
trainer(net, get_module_forward_input_names(net), loader)

prediction_net = DeepARPredictionNetwork(num_parallel_samples=30, **settings)
copy_parameters(net, prediction_net)
predictor = PTSPredictor(prediction_net, trainer.batch_size, future, "D", device, windows)
forecasts = list(predictor.predict(dataset, num_samples=60))
errors = [np.abs(np.median(forecasts[n].samples, axis=0) - series[-future:]).mean() for n, series in dataset]
print(np.mean(errors))
