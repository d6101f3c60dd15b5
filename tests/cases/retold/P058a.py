import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class TextEncoder(nn.Module):
    def __init__(self, vocab, dim):
        super().__init__()
        self.embeddings = nn.Embedding(vocab, dim, padding_idx=0)
        self.layer = nn.TransformerEncoderLayer(dim, 2, 2 * dim, dropout=0.1, batch_first=True)

    def forward(self, ids):
        mask = ids.eq(0)
        h = self.layer(self.embeddings(ids), src_key_padding_mask=mask)
        return h.masked_fill(mask.unsqueeze(-1), 0).sum(1) / (~mask).sum(1, keepdim=True)


class Classifier(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.encoder = TextEncoder(cfg.vocab, cfg.dim)
        self.head = nn.Linear(cfg.dim, 2)
        if cfg.freeze_encoder:
            self.freeze(self.encoder)

    @staticmethod
    def freeze(module):
        for param in module.parameters():
            param.require_grad = False  # BUG
            # FIX: param.requires_grad = False

    def forward(self, ids):
        return self.head(self.encoder(ids))


class Trainer:
    def __init__(self, cfg):
        self.cfg = cfg
        self.model = Classifier(cfg)
        trainable = [p for p in self.model.parameters() if p.requires_grad]
        self.opt = torch.optim.AdamW(trainable, lr=cfg.lr)

    def set_mode(self, training):
        self.model.train(training)
        if self.cfg.freeze_encoder:
            self.model.encoder.eval()

    def fit(self, loader):
        for ep in range(self.cfg.epochs):
            self.set_mode(True)
            for ids, y in loader:
                loss = F.cross_entropy(self.model(ids), y)
                self.opt.zero_grad()
                loss.backward()
                self.opt.step()
            print(f"epoch {ep} loss {loss.item():.3f}")

    @torch.no_grad()
    def accuracy(self, ids, y):
        self.set_mode(False)
        return (self.model(ids).argmax(1) == y).float().mean().item()


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--vocab", type=int, default=50)
    ap.add_argument("--dim", type=int, default=16)
    ap.add_argument("--lr", type=float, default=1e-2)
    ap.add_argument("--epochs", type=int, default=4)
    ap.add_argument("--freeze_encoder", action=argparse.BooleanOptionalAction, default=True)
    cfg = ap.parse_args()
    torch.manual_seed(0)
    ids = torch.randint(1, cfg.vocab, (128, 12))
    ids[::3, 9:] = 0
    y = (ids[:, :6] < 20).float().mean(1).gt(0.4).long()
    trainer = Trainer(cfg)
    trainer.fit(DataLoader(TensorDataset(ids[:96], y[:96]), 16, shuffle=True))
    print("acc", trainer.accuracy(ids[96:], y[96:]))
