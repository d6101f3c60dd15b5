# Anomaly detection with a convolutional autoencoder (machine sounds)
import torch
from torch import nn

torch.manual_seed(0)

normal = torch.sin(torch.linspace(0, 12, 64)) + 0.1 * torch.randn(96, 1, 64)
odd = torch.sin(torch.linspace(0, 30, 64)) + 0.1 * torch.randn(16, 1, 64)
train, check = normal[:80], torch.cat([normal[80:], odd])
is_odd = torch.cat([torch.zeros(16), torch.ones(16)])
trust = torch.rand(80) * 0.5 + 0.5  # how sure we are that a clip is normal

ae = nn.Sequential(
    nn.Conv1d(1, 8, 4, stride=2, padding=1), nn.ReLU(),
    nn.Conv1d(8, 4, 4, stride=2, padding=1), nn.ReLU(),
    nn.ConvTranspose1d(4, 8, 4, stride=2, padding=1), nn.ReLU(),
    nn.ConvTranspose1d(8, 1, 4, stride=2, padding=1),
)
to_vec = nn.Flatten(start_dim=0)  # BUG
# FIX: to_vec = nn.Flatten(start_dim=1)


def clip_error(x):
    """Mean squared reconstruction error of each clip."""
    return to_vec((ae(x) - x) ** 2).mean(dim=-1)


opt = torch.optim.Adam(ae.parameters(), lr=5e-3)
ae.train()
for epoch in range(10):
    order = torch.randperm(len(train))
    for idx in order.split(16):
        loss = (clip_error(train[idx]) * trust[idx]).sum() / trust[idx].sum()
        opt.zero_grad()
        loss.backward()
        opt.step()
print("train loss", loss.item())

ae.eval()
with torch.no_grad():
    threshold = clip_error(train).max()
    flagged = (clip_error(check) > threshold).float().expand_as(is_odd)
print("detection accuracy", (flagged == is_odd).float().mean().item())
