"""Train, save, and continue for further epochs from the saved state."""
import argparse
import io
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def build_optim(model, args, epochs):
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=args.lr, total_steps=epochs * args.steps_per_epoch, final_div_factor=1e8)
    return optimizer, scheduler


class Runner:
    def __init__(self, model, optimizer, scheduler, loader):
        self.model, self.optimizer, self.scheduler, self.loader = model, optimizer, scheduler, loader
        self.loss_fn = nn.BCEWithLogitsLoss()
        self.epoch = 0

    def state_dict(self):
        return {"epoch": self.epoch, "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(), "scheduler": self.scheduler.state_dict()}

    def train_epoch(self):
        self.model.train()
        losses = []
        for x, y in self.loader:
            self.optimizer.zero_grad()
            loss = self.loss_fn(self.model(x).squeeze(1), y)
            loss.backward()
            self.optimizer.step()
            if self.scheduler.last_epoch < self.scheduler.total_steps - 1:
                self.scheduler.step()
            losses.append(loss.item())
        self.epoch += 1
        lr = self.optimizer.param_groups[0]["lr"]
        print(f"epoch {self.epoch}: loss {sum(losses) / len(losses):.4f} lr {lr:.2e}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--extra-epochs", type=int, default=3)
    args = parser.parse_args()
    torch.manual_seed(3)

    x = torch.randn(128, 8)
    y = (x[:, 0] * x[:, 1] > 0).float()
    loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
    args.steps_per_epoch = len(loader)

    def make_model():
        return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))

    model = make_model()
    runner = Runner(model, *build_optim(model, args, args.epochs), loader)
    for _ in range(args.epochs):
        runner.train_epoch()
    buffer = io.BytesIO()
    torch.save(runner.state_dict(), buffer)

    # second run: continue from the checkpoint
    buffer.seek(0)
    ckpt = torch.load(buffer, weights_only=True)
    model = make_model()
    model.load_state_dict(ckpt["model"])
    optimizer, scheduler = build_optim(model, args, args.extra_epochs)
    optimizer.load_state_dict(ckpt["optimizer"])  # BUG
    # FIX:
    scheduler.load_state_dict(ckpt["scheduler"])  # BUG
    # FIX:
    runner = Runner(model, optimizer, scheduler, loader)
    runner.epoch = ckpt["epoch"]
    for _ in range(args.extra_epochs):
        runner.train_epoch()


if __name__ == "__main__":
    main()
