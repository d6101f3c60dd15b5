from __future__ import annotations

import torch
from torch import Tensor, nn


class LitModule(nn.Module):
    """Tiny stand-in for a lightning-like module."""

    def configure_optimizers(self) -> dict:
        raise NotImplementedError


def fit(module: LitModule, batches: list[tuple[Tensor, Tensor]], max_epochs: int) -> None:
    conf = module.configure_optimizers()
    opt, sched_conf = conf["optimizer"], conf["lr_scheduler"]
    scheduler, interval = sched_conf["scheduler"], sched_conf.get("interval", "epoch")
    for epoch in range(max_epochs):
        module.train()
        for step, batch in enumerate(batches):
            loss = module.training_step(batch, step)
            opt.zero_grad()
            loss.backward()
            opt.step()
            if interval == "step":
                scheduler.step()
        if interval == "epoch":
            scheduler.step()
        print(f"epoch={epoch} loss={loss.item():.4f} lr={scheduler.get_last_lr()[0]:.3e}")


class TabularRegressor(LitModule):
    def __init__(self, n_features: int, max_epochs: int, lr: float = 5e-3) -> None:
        super().__init__()
        self.max_epochs = max_epochs
        self.lr = lr
        self.mlp = nn.Sequential(nn.Linear(n_features, 64), nn.SiLU(), nn.Dropout(0.1), nn.Linear(64, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(x).squeeze(-1)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return nn.functional.smooth_l1_loss(self(x), y)

    def configure_optimizers(self) -> dict:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR
        scheduler = cosine(optimizer, T_max=self.max_epochs, eta_min=1e-6)  # BUG
        return {
            "optimizer": optimizer,
            "lr_scheduler": {
                "scheduler": scheduler,
                "interval": "step",  # BUG
                # FIX: "interval": "epoch",
            },
        }


if __name__ == "__main__":
    torch.manual_seed(0)
    coef = torch.randn(10)
    data = []
    for _ in range(12):
        feats = torch.randn(32, 10)
        data.append((feats, feats @ coef + 0.1 * torch.randn(32)))
    fit(TabularRegressor(10, max_epochs=5), data, max_epochs=5)
