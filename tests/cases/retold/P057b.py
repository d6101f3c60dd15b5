# WaveNet-ish stack for next-sample prediction
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)


class CausalConv(nn.Conv1d):
    def __init__(self, cin, cout, dilation):
        super().__init__(cin, cout, 2, dilation=dilation)
        self.left = dilation

    def forward(self, x):
        return super().forward(F.pad(x, (self.left, 0)))


class Stack(nn.Module):
    def __init__(self, width=16, depth=4):
        super().__init__()
        self.inp = nn.Conv1d(1, width, 1)
        self.gates = tuple(CausalConv(width, 2 * width, 2 ** i) for i in range(depth))  # BUG
        # FIX: self.gates = nn.ModuleList(CausalConv(width, 2 * width, 2 ** i) for i in range(depth))
        self.skips = nn.ModuleList([nn.Conv1d(width, width, 1) for _ in range(depth)])
        self.out = nn.Sequential(nn.ReLU(), nn.Conv1d(width, 1, 1))

    def forward(self, x):
        h, total = self.inp(x), 0
        for conv, skip in zip(self.gates, self.skips):
            a, b = conv(h).chunk(2, dim=1)
            z = torch.tanh(a) * torch.sigmoid(b)
            total = total + skip(z)
            h = h + z
        return self.out(total)


def tones(n, length=80):
    f = 0.1 + 0.3 * torch.rand(n, 1)
    return torch.sin(f * torch.arange(length)).unsqueeze(1)


net = Stack()
opt = torch.optim.Adam(net.parameters(), lr=5e-3)
for step in range(60):
    net.train()
    w = tones(16)
    loss = F.mse_loss(net(w[..., :-1]), w[..., 1:])
    opt.zero_grad()
    loss.backward()
    opt.step()
    if (step + 1) % 20 == 0:
        print(step + 1, "mse", round(loss.item(), 4))
net.eval()
with torch.no_grad():
    w = tones(32)
    print("eval mse", F.mse_loss(net(w[..., :-1]), w[..., 1:]).item())
