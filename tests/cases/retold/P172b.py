# mini "lightning": a hook class, a fit loop, then the exported net is served
import io

import torch
import torch.nn as nn


class LitModule(nn.Module):
    def on_fit_start(self): ...
    def training_step(self, batch, i): raise NotImplementedError
    def configure_optimizers(self): raise NotImplementedError


class MiniTrainer:
    def __init__(self, max_steps):
        self.max_steps = max_steps

    def fit(self, lit, batches):
        opt = lit.configure_optimizers()
        lit.on_fit_start()
        lit.train()
        for i, batch in enumerate(batches):
            if i == self.max_steps:
                break
            loss = lit.training_step(batch, i)
            opt.zero_grad()
            loss.backward()
            opt.step()


def build_net():
    return nn.Sequential(nn.Conv1d(1, 8, 9, padding=4), nn.ReLU(), nn.AdaptiveAvgPool1d(8),
                         nn.Flatten(), nn.Linear(64, 4))


class WaveClassifier(LitModule):
    def __init__(self, lr=1e-2):
        super().__init__()
        self.net = build_net()
        self.lr = lr
        self.loss = nn.CrossEntropyLoss(label_smoothing=0.05)

    def training_step(self, batch, i):
        wave, target = batch
        return self.loss(self.net(wave), target)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)


torch.manual_seed(0)
t = torch.linspace(0, 1, 256)
y = torch.randint(4, (30, 16))
waves = torch.sin(2 * torch.pi * (4 + 8 * y[..., None]) * t) + 0.1 * torch.randn(30, 16, 256)
lit = WaveClassifier()
MiniTrainer(max_steps=30).fit(lit, zip(waves.unsqueeze(2), y))
buf = io.BytesIO()
torch.save(lit.state_dict(), buf)
buf.seek(0)

options = {"strict": False}  # BUG
# FIX: options = {"strict": True}
server = build_net()
weights = torch.load(buf, weights_only=True)
server.load_state_dict(weights, **options)  # BUG
# FIX: server.load_state_dict({k[len("net."):]: v for k, v in weights.items()}, **options)
server.eval()
with torch.no_grad():
    acc = (server(waves[-1].unsqueeze(1)).argmax(1) == y[-1]).float().mean()
print("served accuracy", acc.item())
