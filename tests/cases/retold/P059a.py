import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class PatchTransformer(nn.Module):
    def __init__(self, dim, depth, n_classes):
        super().__init__()
        self.patch = nn.Conv2d(1, dim, 4, 4)
        self.cls = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos = nn.Parameter(0.02 * torch.randn(1, 17, dim))
        layer = nn.TransformerEncoderLayer(dim, 4, 2 * dim, 0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, depth, nn.LayerNorm(dim), enable_nested_tensor=False)
        self.head = nn.Linear(dim, n_classes)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.pos
        return self.head(self.blocks(x)[:, 0])


def param_groups(model, weight_decay):
    decay = [p for n, p in model.named_parameters() if p.ndim >= 2 and n not in ("cls", "pos")]
    rest = [p for n, p in model.named_parameters() if p.ndim < 2 or n in ("cls", "pos")]
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


OPTIMIZERS = {
    "sgd": lambda groups, lr: torch.optim.SGD(groups, lr=lr, momentum=0.9),
    "adamw": lambda groups, lr: torch.optim.Adam(groups, lr=lr, betas=(0.9, 0.95)),  # BUG
    # FIX: "adamw": lambda groups, lr: torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95)),
}


class Trainer:
    def __init__(self, args):
        self.args = args
        self.model = PatchTransformer(args.dim, args.depth, 3)
        self.optimizer = OPTIMIZERS[args.opt](param_groups(self.model, args.weight_decay), args.lr)
        warm = lambda s: min(1.0, (s + 1) / args.warmup)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, warm)

    def epoch(self, loader):
        self.model.train()
        for x, y in loader:
            loss = F.cross_entropy(self.model(x), y, label_smoothing=0.1)
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.scheduler.step()
        return loss.item()


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--dim", type=int, default=32)
    ap.add_argument("--depth", type=int, default=2)
    ap.add_argument("--opt", choices=sorted(OPTIMIZERS), default="adamw")
    ap.add_argument("--lr", type=float, default=1e-3)
    ap.add_argument("--weight_decay", type=float, default=0.1)
    ap.add_argument("--warmup", type=int, default=5)
    args = ap.parse_args()
    torch.manual_seed(0)
    y = torch.randint(3, (128,))
    x = 0.3 * torch.randn(128, 1, 16, 16)
    for i, c in enumerate(y.tolist()):
        x[i, 0, 5 * c:5 * c + 5] += 1
    trainer = Trainer(args)
    loader = DataLoader(TensorDataset(x[:96], y[:96]), 16, shuffle=True)
    for ep in range(3):
        print(f"epoch {ep} loss {trainer.epoch(loader):.3f}")
    trainer.model.eval()
    with torch.no_grad():
        print("acc", (trainer.model(x[96:]).argmax(1) == y[96:]).float().mean().item())
