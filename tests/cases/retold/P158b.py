import torch
from torch import nn, optim

torch.manual_seed(2)

# tabular: 24 numeric features -> price
X = torch.randn(512, 24)
y = X[:, :4].sum(1, keepdim=True) + 0.1 * torch.randn(512, 1)


class DenseBN(nn.Sequential):
    def __init__(self, n_in, n_out, p=0.1, **kw):
        super().__init__()
        self.add_module("lin", nn.Linear(n_in, n_out, **kw))
        self.add_module("bn", nn.BatchNorm1d(n_out))
        self.add_module("act", nn.SiLU())
        self.add_module("drop", nn.Dropout(p))


sizes = [24, 64, 64]
use_bias = True  # BUG
# FIX: use_bias = False
body = [DenseBN(a, b, bias=use_bias) for a, b in zip(sizes[:-1], sizes[1:])]
model = nn.Sequential(*body, nn.Linear(sizes[-1], 1))
opt = optim.AdamW(model.parameters(), lr=5e-3)

for epoch in range(5):
    model.train()
    for xb, yb in zip(X[:384].split(64), y[:384].split(64)):
        opt.zero_grad()
        loss = nn.functional.mse_loss(model(xb), yb)
        loss.backward()
        opt.step()
    model.eval()
    with torch.inference_mode():
        val = nn.functional.mse_loss(model(X[384:]), y[384:])
    print(f"epoch {epoch}: val mse {val.item():.4f}")
