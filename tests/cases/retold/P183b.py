# audio denoising; tries the fancy front-end first, falls back to the plain one
import torch
import torch.nn as nn


class FrontEnd(nn.Module):
    width = 32

    def forward(self, wave):
        return torch.relu(self.conv(wave))


class PlainFrontEnd(FrontEnd):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, self.width, 9, padding=4)


class DilatedFrontEnd(FrontEnd):
    def __init__(self, dilation=2):
        super(FrontEnd, self)  # BUG
        # FIX: super(DilatedFrontEnd, self).__init__()
        self.conv = nn.Conv1d(1, self.width, 9, padding=4 * dilation, dilation=dilation)


def make_front_end():
    for cls in (DilatedFrontEnd, PlainFrontEnd):
        try:
            return cls()
        except (AttributeError, RuntimeError) as err:
            print("skipping", cls.__name__, "-", type(err).__name__)
    raise RuntimeError("no front-end")


torch.manual_seed(0)
front = make_front_end()
model = nn.Sequential(front, nn.Conv1d(FrontEnd.width, 1, 1))
opt = torch.optim.Adam(model.parameters(), lr=2e-3)
t = torch.arange(400) / 400
model.train()
for it in range(20):
    f = torch.rand(16, 1, 1) * 20 + 5
    clean = torch.sin(2 * torch.pi * f * t)
    noisy = clean + 0.3 * torch.randn_like(clean)
    loss = nn.functional.l1_loss(model(noisy), clean)
    opt.zero_grad()
    loss.backward()
    opt.step()
print("final l1", loss.item())
