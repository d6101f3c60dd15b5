# fusion of text and audio features
import torch
from torch import nn
import torch.nn.functional as F

torch.manual_seed(0)


class TwoStream(nn.Module):
    def __init__(self, d_text, d_audio, d=32):
        super().__init__()
        norm = nn.BatchNorm1d(d)  # BUG
        # FIX: norm_text, norm_audio = nn.BatchNorm1d(d), nn.BatchNorm1d(d)
        self.text = nn.Sequential(nn.Linear(d_text, d), norm, nn.ReLU())  # BUG
        # FIX: self.text = nn.Sequential(nn.Linear(d_text, d), norm_text, nn.ReLU())
        self.audio = nn.Sequential(nn.Linear(d_audio, d), norm, nn.ReLU())  # BUG
        # FIX: self.audio = nn.Sequential(nn.Linear(d_audio, d), norm_audio, nn.ReLU())
        self.fuse = nn.Linear(d, 2)

    def forward(self, text, audio):
        return self.fuse(self.text(text) + self.audio(audio))


def draw(n):
    y = torch.randint(2, (n,))
    text = 0.1 * torch.randn(n, 20) + 0.1 * y[:, None]
    audio = 10 + 5 * torch.randn(n, 12) + 3 * y[:, None]
    return text, audio, y


model = TwoStream(20, 12)
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for epoch in range(3):
    model.train()
    for _ in range(12):
        text, audio, y = draw(32)
        loss = F.cross_entropy(model(text, audio), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        text, audio, y = draw(200)
        acc = (model(text, audio).argmax(1) == y).float().mean().item()
    print(epoch, round(loss.item(), 4), round(acc, 3))
