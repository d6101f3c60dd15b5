import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class UNetSmall(nn.Module):
    def __init__(self, ch):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, ch, 3, 2, 1), nn.ReLU())
        self.mid = nn.Sequential(nn.Conv2d(ch, ch, 3, padding=1), nn.ReLU())
        self.up = nn.ConvTranspose2d(2 * ch, 1, 4, 2, 1)

    def forward(self, x):
        d = self.down(x)
        return self.up(torch.cat([d, self.mid(d)], 1))


class AmpTrainer:
    def __init__(self, args):
        self.args = args
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.dtype = torch.float16 if self.device == "cuda" else torch.bfloat16
        self.model = UNetSmall(args.ch).to(self.device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=args.lr)
        self.scaler = torch.amp.GradScaler(self.device)

    def clip(self):
        return nn.utils.clip_grad_norm_(self.model.parameters(), self.args.max_norm)

    def train_step(self, x, y):
        x, y = x.to(self.device), y.to(self.device)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device, dtype=self.dtype):
            logits = self.model(x)
        loss = F.binary_cross_entropy_with_logits(logits.float(), y)
        self.scaler.scale(loss).backward()
        # FIX+: self.scaler.unscale_(self.optimizer)
        self.clip()  # BUG
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.item()

    def fit(self, loader):
        for ep in range(self.args.epochs):
            self.model.train()
            losses = [self.train_step(x, y) for x, y in loader]
            print(f"epoch {ep} loss {sum(losses) / len(losses):.4f} scale {self.scaler.get_scale():.0f}")

    @torch.no_grad()
    def dice(self, x, y):
        self.model.eval()
        p = (self.model(x.to(self.device)) > 0).float().cpu()
        return (2 * (p * y).sum() / (p.sum() + y.sum()).clamp(min=1)).item()


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--ch", type=int, default=8)
    ap.add_argument("--lr", type=float, default=5e-3)
    ap.add_argument("--max_norm", type=float, default=1.0)
    ap.add_argument("--epochs", type=int, default=4)
    args = ap.parse_args()
    torch.manual_seed(0)
    y = torch.zeros(96, 1, 16, 16)
    for i, (r, c) in enumerate(torch.randint(0, 10, (96, 2)).tolist()):
        y[i, 0, r:r + 6, c:c + 6] = 1
    x = y + 0.4 * torch.randn_like(y)
    trainer = AmpTrainer(args)
    trainer.fit(DataLoader(TensorDataset(x[:80], y[:80]), 16, shuffle=True))
    print("dice", trainer.dice(x[80:], y[80:]))
