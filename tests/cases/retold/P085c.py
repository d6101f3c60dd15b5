"""Multi-task regression: one trunk, one head per physiological signal."""
import numpy as np
import torch
from torch import nn

SIGNALS = ["heart_rate", "spo2", "temperature"]
LOSS_WEIGHT = dict.fromkeys(SIGNALS, 1.0)


def make_head(width):
    return nn.Sequential(nn.Linear(width, 16), nn.ReLU(), nn.Linear(16, 1))


class MultiTaskNet(nn.Module):
    def __init__(self, n_in, width=32):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(n_in, width), nn.ReLU(), nn.Dropout(0.05))
        self.heads = nn.ModuleDict(dict.fromkeys(SIGNALS, make_head(width)))  # BUG
        # FIX: self.heads = nn.ModuleDict({name: make_head(width) for name in SIGNALS})

    def forward(self, x):
        shared = self.trunk(x)
        return {name: head(shared).squeeze(-1) for name, head in self.heads.items()}


def patients(n, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 9)).astype("float32")
    targets = {
        "heart_rate": x[:, 0] + 0.5 * x[:, 1],
        "spo2": -x[:, 0] + x[:, 2] ** 2 * 0.3,
        "temperature": 0.8 * x[:, 3] - 0.2 * x[:, 4],
    }
    return torch.from_numpy(x), {k: torch.from_numpy(v) for k, v in targets.items()}


def multitask_loss(outputs, targets):
    return sum(LOSS_WEIGHT[k] * nn.functional.mse_loss(outputs[k], targets[k]) for k in SIGNALS)


torch.manual_seed(42)
x_train, y_train = patients(320, 0)
x_test, y_test = patients(80, 1)
model = MultiTaskNet(x_train.shape[1])
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.95)

for epoch in range(8):
    model.train()
    for rows in torch.randperm(len(x_train)).split(32):
        optimizer.zero_grad()
        loss = multitask_loss(model(x_train[rows]), {k: v[rows] for k, v in y_train.items()})
        loss.backward()
        optimizer.step()
    scheduler.step()

model.eval()
with torch.no_grad():
    out = model(x_test)
    for k in SIGNALS:
        print(f"{k:12s} mse {nn.functional.mse_loss(out[k], y_test[k]).item():.4f}")
