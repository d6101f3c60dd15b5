"""Fit a network on log survival times with the project's general fitter, clipping the norm of the gradients.

fix: 40091782
depth: live 60
expects: TW310
where: pycox/callbacks/callbacks.py
stands in: pandas and matplotlib (only imported), the data loader that takes slices (built on old internals of PyTorch)
"""

import inspect
from importlib.machinery import ModuleSpec

import numpy as np
import torch
from stand_ins import stand_in
from torch import nn, optim
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler


def slices(dataset, batch_size, shuffle=False, num_workers=0):
    order = RandomSampler(dataset) if shuffle else SequentialSampler(dataset)
    return DataLoader(dataset, sampler=BatchSampler(order, batch_size, False), batch_size=None, num_workers=num_workers)


stand_in("pandas", __spec__=ModuleSpec("pandas", None))
stand_in("matplotlib.pyplot")
import pycox.utils  # noqa: F401

stand_in("pycox.utils.pytorch_dataloader", DataLoaderSlice=slices)
if not hasattr(nn.utils, "clip_grad_norm"):
    nn.utils.clip_grad_norm = nn.utils.clip_grad_norm_
from pycox.callbacks.callbacks import ClipGradNorm
from pycox.models.torch_fitter import FitNet
from pycox.models.torch_models import ReluNet

rng = np.random.RandomState(0)
covariates = rng.randn(500, 8).astype("float32")
risks = covariates[:, 0] - 0.5 * covariates[:, 1] * covariates[:, 2]
durations = np.log(rng.exponential(50 * np.exp(-risks)) + 1).astype("float32").reshape(-1, 1)

torch.manual_seed(0)
net = ReluNet(8, n_layers=2, n_nodes=32, dropout=0.1)
optimizer = optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
clipped = net if "net" in inspect.signature(ClipGradNorm).parameters else net.parameters()
model = FitNet(net, nn.MSELoss(), optimizer)
log = model.fit(covariates, durations, batch_size=64, epochs=5, callbacks=[ClipGradNorm(clipped, 1.0)])
print(log.monitors["train_loss"].scores)
model.save_model_weights("weights.pt")
