"""Train LSTNet with the project's trainer on windows of invented hourly series.

fix: a025fa77
depth: live 60
expects: TW375
where: pts/trainer.py
stands in: gluonts (its decorator that checks arguments), wandb (logs nowhere)
"""

import numpy as np
import torch
from stand_ins import load, package, stand_in
from torch.utils.data import DataLoader, IterableDataset

stand_in("gluonts.core.component", validated=lambda *args, **kwargs: lambda function: function)
stand_in("wandb")
scaler = load("pts/modules/scaler.py")
package("pts.modules").MeanScaler, package("pts.modules").NOPScaler = scaler.MeanScaler, scaler.NOPScaler
Trainer = load("pts/trainer.py").Trainer
networks = load("pts/model/lstnet/lstnet_network.py")


class Windows(IterableDataset):
    def __init__(self, series, past, future):
        self.series, self.past, self.future = series, past, future

    def __iter__(self):
        while True:
            at = np.random.randint(self.past, self.series.shape[1] - self.future)
            past = self.series[:, at - self.past : at]
            yield {
                "past_target": torch.tensor(past),
                "past_observed_values": torch.ones(past.shape),
                "future_target": torch.tensor(self.series[:, at : at + self.future]),
            }


np.random.seed(0)
torch.manual_seed(0)
hours = np.arange(1000)
series = 10 + 3 * np.sin(hours / 12 * np.pi + np.random.rand(5, 1) * 6) + np.random.randn(5, 1000) * 0.3
settings = {
    "num_series": 5, "channels": 12, "kernel_size": 4, "rnn_cell_type": "GRU", "rnn_num_cells": 16,
    "skip_rnn_cell_type": "GRU", "skip_rnn_num_cells": 4, "skip_size": 6, "ar_window": 12, "context_length": 24,
    "horizon": None, "prediction_length": 3, "dropout_rate": 0.2, "output_activation": None, "scaling": True,
}  # fmt: skip
net = networks.LSTNetTrain(**settings)
trainer = Trainer(epochs=6, batch_size=16, num_batches_per_epoch=12, learning_rate=5e-3, device="cpu")
trainer(net, DataLoader(Windows(series.astype(np.float32), 24, 3), batch_size=trainer.batch_size))

forecaster = networks.LSTNetPredict(**settings)
forecaster.load_state_dict(net.state_dict())
forecaster.eval()
with torch.no_grad():
    past = torch.tensor(series[None, :, -27:-3], dtype=torch.float32)
    forecast = forecaster(past, torch.ones_like(past))
print(np.abs(forecast[0, 0].numpy().T - series[:, -3:]).mean())
