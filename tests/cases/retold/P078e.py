"""Transfer learning with a tiny Lightning-like module: frozen encoder, new head."""
import copy

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class MiniModule(nn.Module):
    def on_fit_start(self):
        pass

    def training_step(self, batch, batch_idx):
        raise NotImplementedError

    def validation_step(self, batch):
        raise NotImplementedError


class MiniTrainer:
    def __init__(self, max_epochs):
        self.max_epochs = max_epochs

    def fit(self, module, train_loader, val_loader):
        module.on_fit_start()
        opt = module.configure_optimizers()
        for epoch in range(self.max_epochs):
            module.train()
            for i, batch in enumerate(train_loader):
                opt.zero_grad()
                loss = module.training_step(batch, i)
                loss.backward()
                opt.step()
            module.eval()
            with torch.no_grad():
                scores = [module.validation_step(b) for b in val_loader]
            print(f"epoch {epoch}: loss {loss.item():.4f} val acc {sum(scores) / len(scores):.3f}")


def conv_block(c_in, c_out):
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, 2, 1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU())


def make_encoder():
    return nn.Sequential(conv_block(3, 16), conv_block(16, 32), nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Classifier(MiniModule):
    def __init__(self, encoder, n_classes, lr):
        super().__init__()
        self.encoder, self.lr = encoder, lr
        self.head = nn.Linear(32, n_classes)

    def configure_optimizers(self):
        return torch.optim.Adam([p for p in self.parameters() if p.requires_grad], lr=self.lr)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.head(self.encoder(x)), y)

    def validation_step(self, batch):
        x, y = batch
        return (self.head(self.encoder(x)).argmax(1) == y).float().mean().item()


class FrozenEncoderClassifier(Classifier):
    def on_fit_start(self):
        self.encoder.requires_grad_(False)  # BUG

    # FIX+: def train(self, mode=True):
    # FIX+:     super().train(mode)
    # FIX+:     self.encoder.eval()
    # FIX+:     return self

    def training_step(self, batch, batch_idx):
        x, y = batch
        features = self.encoder(x).detach()
        return F.cross_entropy(self.head(features), y)


def pictures(n, n_classes, shift):
    y = torch.randint(n_classes, (n,))
    tint = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [0.7, 0.7, 0]])[y]
    x = 0.6 * torch.randn(n, 3, 16, 16) + tint[:, :, None, None] + shift
    return TensorDataset(x, y)


def loaders(n_classes, shift):
    train, val = pictures(256, n_classes, shift), pictures(64, n_classes, shift)
    return DataLoader(train, batch_size=32, shuffle=True), DataLoader(val, batch_size=32)


def main():
    torch.manual_seed(21)
    source = Classifier(make_encoder(), n_classes=4, lr=3e-3)
    MiniTrainer(max_epochs=4).fit(source, *loaders(4, shift=0.0))

    print("transfer")
    target = FrozenEncoderClassifier(copy.deepcopy(source.encoder), n_classes=3, lr=1e-2)
    MiniTrainer(max_epochs=4).fit(target, *loaders(3, shift=0.5))
    drift = (target.encoder[0][1].running_mean - source.encoder[0][1].running_mean).abs().max()
    print(f"encoder statistics moved by {drift:.4f}")


if __name__ == "__main__":
    main()
