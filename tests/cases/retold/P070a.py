"""Fine-tuning a small transformer encoder on data with very different scales."""
import argparse
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

PRESETS = {
    "linear_probe": dict(lr=1e-2, epochs=2),
    "finetune": dict(lr=1e-1, epochs=2),  # BUG
    # FIX: "finetune": dict(lr=1e-3, epochs=2),
}


class SeriesDataset(Dataset):
    """Series from several sensors; each sensor has another amplitude."""

    def __init__(self, n, length=20, channels=4):
        self.scale = 10 ** (torch.rand(n) * 3 - 1)
        self.label = torch.randint(0, 2, (n,))
        t = torch.linspace(0, 6.28, length)
        freq = 1.0 + self.label.float()
        wave = torch.sin(freq[:, None] * t).unsqueeze(-1).expand(-1, -1, channels)
        self.x = (wave + 0.2 * torch.randn(n, length, channels)) * self.scale.view(-1, 1, 1)

    def __len__(self):
        return len(self.label)

    def __getitem__(self, idx):
        return self.x[idx], self.label[idx]


class Encoder(nn.Module):
    def __init__(self, channels=4, width=32):
        super().__init__()
        self.proj = nn.Linear(channels, width)
        layer = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.1, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        return self.head(self.body(self.proj(x)).mean(dim=1))


class Trainer:
    def __init__(self, model, preset):
        self.model = model
        self.hp = PRESETS[preset]
        if preset == "linear_probe":
            model.proj.requires_grad_(False)
            model.body.requires_grad_(False)
        params = [p for p in model.parameters() if p.requires_grad]
        self.opt = torch.optim.Adam(params, lr=self.hp["lr"])
        # FIX+: self.warmup = torch.optim.lr_scheduler.LinearLR(self.opt, 0.1, 1.0, total_iters=5)
        self.criterion = nn.CrossEntropyLoss()

    def fit(self, loader):
        for epoch in range(self.hp["epochs"]):
            self.model.train()
            for x, y in loader:
                loss = self.criterion(self.model(x), y)
                self.opt.zero_grad()
                loss.backward()
                # FIX+: nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                self.opt.step()
                # FIX+: self.warmup.step()
                print(f"epoch {epoch} loss {loss.item():.3f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--preset", choices=list(PRESETS), default="finetune")
    args = parser.parse_args()
    torch.manual_seed(0)
    loader = DataLoader(SeriesDataset(96), batch_size=16, shuffle=True)
    Trainer(Encoder(), args.preset).fit(loader)


if __name__ == "__main__":
    main()
