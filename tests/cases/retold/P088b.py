import torch
from torch import nn, Tensor
from torch.nn import functional as F

torch.manual_seed(0)
ACT = {"relu": nn.ReLU, "silu": nn.SiLU}


class UNet1d(nn.Module):
    """Small denoiser for ECG-like signals."""

    def __init__(self, ch: int = 12, act: str = "silu") -> None:
        super().__init__()
        self.act = ACT[act]()
        self.down = nn.ModuleDict({
            "a": nn.Conv1d(1, ch, 5, padding=2),
            "b": nn.Conv1d(ch, 2 * ch, 5, stride=2, padding=2),
        })
        self.mid = nn.Conv1d(2 * ch, 2 * ch, 3, padding=1)
        self.up = nn.ModuleDict({
            "b": nn.ConvTranspose1d(2 * ch, ch, 4, stride=2, padding=1),
            "skip": nn.Conv1d(ch, ch, 1),  # BUG
            "a": nn.Conv1d(ch, 1, 5, padding=2),
        })

    def forward(self, x: Tensor) -> Tensor:
        a = self.act(self.down["a"](x))
        b = self.act(self.down["b"](a))
        b = b + self.act(self.mid(b))
        u = self.act(self.up["b"](b)) + a  # BUG
        # FIX: u = self.act(self.up["b"](b)) + self.up["skip"](a)
        return x - self.up["a"](u)


net = UNet1d()
opt = torch.optim.Adam(net.parameters(), lr=2e-3)
t = torch.linspace(0, 12, 128)
net.train()
for k in range(40):
    clean = torch.sin(t * (1 + torch.rand(16, 1, 1))) + 0.5 * torch.cos(2 * t)
    noisy = clean + 0.3 * torch.randn_like(clean)
    loss = F.l1_loss(net(noisy), clean)
    opt.zero_grad()
    loss.backward()
    opt.step()
    if k % 10 == 0:
        print(k, round(loss.item(), 4))
