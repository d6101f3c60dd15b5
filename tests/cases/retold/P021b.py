import torch
import torch.nn as nn

torch.manual_seed(0)

# Sound event detection. The table below is printed into the model card.
CARD = [
    ("input", "log-mel, 40 bands, 100 frames", (1, 40, 100)),
    ("conv_a", "3x3, 8 maps, pool 2", (8, 20, 50)),
    ("conv_b", "3x3, 16 maps, pool 2", (16, 10, 50)),  # BUG
    # FIX: ("conv_b", "3x3, 16 maps, pool 2", (16, 10, 25)),
    ("mean", "mean over bands", (16, 25)),
    ("head", "1x1 conv, 3 events", (3, 25)),
]


def conv_pool(cin, cout):
    conv = nn.Conv2d(cin, cout, 3, padding=1)
    return nn.Sequential(conv, nn.BatchNorm2d(cout), nn.ReLU(), nn.MaxPool2d(2))


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_a = conv_pool(1, 8)
        self.conv_b = conv_pool(8, 16)
        self.head = nn.Conv1d(16, 3, 1)

    def forward(self, mel):
        h = self.conv_b(self.conv_a(mel))
        return self.head(h.mean(dim=2))


def events(n):
    y = (torch.rand(n, 3, 25) < 0.2).float()
    mel = 0.5 * torch.randn(n, 1, 40, 100)
    for k in range(3):
        mel[:, 0, 12 * k:12 * k + 8] += y[:, k].repeat_interleave(4, dim=1)[:, None, :]
    return mel, y


for name, what, shape in CARD:
    print(f"| {name:8s} | {what:32s} | {'x'.join(map(str, shape)):12s} |")

net = Detector()
opt = torch.optim.Adam(net.parameters(), lr=1e-2)
bce = nn.BCEWithLogitsLoss()
net.train()
for step in range(20):
    mel, y = events(8)
    loss = bce(net(mel), y)
    opt.zero_grad()
    loss.backward()
    opt.step()
print("train loss", loss.item())

net.eval()
with torch.no_grad():
    mel, y = events(16)
    print("frame accuracy", ((net(mel) > 0) == y.bool()).float().mean().item())
