"""Train the project's Real NVP on two moons, check it on held-out points after each epoch, and sample from it.

fix: 36dcabc9
depth: live 60
expects: TW389
where: program
stands in: matplotlib (imported only)
"""

import numpy as np
import sklearn.datasets
import torch
from stand_ins import stand_in
from torch.utils.data import DataLoader, TensorDataset

stand_in("matplotlib.pyplot")

from nflows.flows.realnvp import SimpleRealNVP

np.random.seed(0)
torch.manual_seed(0)
points, _ = sklearn.datasets.make_moons(500, noise=0.1)
points = torch.tensor(points, dtype=torch.float32)
loader = DataLoader(TensorDataset(points[:420]), batch_size=64, shuffle=True)
held_out = points[420:]

flow = SimpleRealNVP(
    features=2, hidden_features=16, num_layers=4, num_blocks_per_layer=1, batch_norm_between_layers=True
)
optimizer = torch.optim.Adam(flow.parameters(), lr=5e-3)
for epoch in range(4):
    flow.train()
    total = 0.0
    for (batch,) in loader:
        optimizer.zero_grad()
        loss = -flow.log_prob(inputs=batch).mean()
        loss.backward()
        optimizer.step()
        total += loss.item()
    flow.eval()
    with torch.no_grad():
        likelihood = flow.log_prob(held_out).mean().item()
        samples = flow.sample(100)
    print(epoch, total / len(loader), likelihood, samples.std(0).tolist())
