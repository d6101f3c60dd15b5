"""Lightning: an image classifier as a LightningModule, validated every epoch."""

import argparse

import lightning as L
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class LitClassifier(L.LightningModule):
    def __init__(self, width=64, lr=1e-3):
        super().__init__()
        self.save_hyperparameters()
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.GELU(), nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.GELU(), nn.AdaptiveAvgPool2d(4),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(32 * width, 10))

    def forward(self, x):
        return self.head(self.features(x))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        self.log("val_loss", F.cross_entropy(logits, y), prog_bar=True)
        self.log("val_acc", (logits.argmax(-1) == y).float().mean())

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams.lr)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--samples", type=int, default=2048)
    parser.add_argument("--precision", default="bf16-mixed" if torch.cuda.is_available() else "32-true")
    args = parser.parse_args()
    L.seed_everything(0)
    data = TensorDataset(torch.randn(args.samples, 3, 64, 64), torch.randint(0, 10, (args.samples,)))
    train, valid = torch.utils.data.random_split(data, [0.8, 0.2])
    trainer = L.Trainer(
        max_epochs=1, accelerator="auto", devices=1, precision=args.precision, gradient_clip_val=1.0,
        log_every_n_steps=5, logger=False,
    )  # fmt: skip
    trainer.fit(
        LitClassifier(args.width),
        DataLoader(train, args.batch_size, shuffle=True),
        DataLoader(valid, args.batch_size),
    )


if __name__ == "__main__":
    main()
