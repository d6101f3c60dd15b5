# tabular classifier with input noise and word-dropout-like feature masking
import torch
from torch import nn
import torch.nn.functional as F

torch.manual_seed(9)


class NoisyTabNet(nn.Module):
    def __init__(self, n_feat, cfg):
        super().__init__()
        self.rates = dict(cfg)
        self.fc1 = nn.Linear(n_feat, 48)
        self.fc2 = nn.Linear(48, 3)

    def forward(self, x):
        r = self.rates  # BUG
        # FIX: r = dict(self.rates)
        if not self.training:
            r.update(feature=0.0, hidden=0.0)  # BUG
        x = F.dropout(x, r["feature"])
        return self.fc2(F.dropout(F.relu(self.fc1(x)), r["hidden"]))


centres = torch.randn(3, 15) * 1.5


def draw(n):
    y = torch.randint(3, (n,))
    return centres[y] + torch.randn(n, 15), y


net = NoisyTabNet(15, {"feature": 0.1, "hidden": 0.5})
opt = torch.optim.RMSprop(net.parameters(), lr=1e-3)
xv, yv = draw(200)

for epoch in range(4):
    net.train()
    for _ in range(10):
        xb, yb = draw(32)
        loss = F.cross_entropy(net(xb), yb)
        opt.zero_grad()
        loss.backward()
        opt.step()
    net.eval()
    with torch.no_grad():
        acc = (net(xv).argmax(1) == yv).float().mean().item()
    print(f"epoch {epoch}: loss {loss.item():.3f}, acc {acc:.3f}")
