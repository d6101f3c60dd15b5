"""A home-made Trainer with callbacks and an exponential moving average of the weights."""

import argparse
import copy
import time
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class Config:
    batch_size: int = 512
    width: int = 2048
    depth: int = 4
    epochs: int = 2
    lr: float = 3e-4
    ema_decay: float = 0.999
    samples: int = 8192
    device: str = field(default_factory=lambda: "cuda" if torch.cuda.is_available() else "cpu")


class Callback:
    def on_step_end(self, trainer, loss): ...

    def on_epoch_end(self, trainer, metrics): ...


class Ema(Callback):
    def __init__(self, model, decay):
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def on_step_end(self, trainer, loss):
        for ema, now in zip(self.model.parameters(), trainer.model.parameters()):
            ema.lerp_(now, 1 - self.decay)


class Log(Callback):
    def __init__(self, every=20):
        self.every, self.start = every, time.perf_counter()

    def on_step_end(self, trainer, loss):
        if trainer.step % self.every == 0:
            rate = trainer.step / (time.perf_counter() - self.start)
            print(f"step {trainer.step:5d}  loss {loss.item():.4f}  {rate:.1f} it/s")

    def on_epoch_end(self, trainer, metrics):
        print("epoch", trainer.epoch, {k: round(v, 4) for k, v in metrics.items()})


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x):
        return x + self.net(x)


class Trainer:
    def __init__(self, config, model, callbacks):
        self.config, self.model, self.callbacks = config, model, callbacks
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=0.05)
        self.criterion = nn.SmoothL1Loss()
        self.step = self.epoch = 0

    def to_device(self, batch):
        return [t.to(self.config.device) for t in batch]

    def fit(self, train, valid):
        for self.epoch in range(self.config.epochs):
            self.model.train()
            for batch in train:
                x, y = self.to_device(batch)
                loss = self.criterion(self.model(x), y)
                self.optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                self.optimizer.step()
                self.step += 1
                for callback in self.callbacks:
                    callback.on_step_end(self, loss.detach())
            metrics = self.evaluate(valid)
            for callback in self.callbacks:
                callback.on_epoch_end(self, metrics)

    @torch.inference_mode()
    def evaluate(self, loader):
        self.model.eval()
        losses = [self.criterion(self.model(x), y).item() for x, y in map(self.to_device, loader)]
        return {"valid_loss": sum(losses) / len(losses)}


def main():
    parser = argparse.ArgumentParser()
    for name, default in vars(Config()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    config = Config(**vars(parser.parse_args()))

    torch.manual_seed(0)
    x = torch.randn(config.samples, 64)
    y = (x @ torch.randn(64, 8)).sin()
    data = TensorDataset(x, y)
    train, valid = torch.utils.data.random_split(data, [0.9, 0.1])
    model = nn.Sequential(
        nn.Linear(64, config.width), *(Residual(config.width) for _ in range(config.depth)), nn.Linear(config.width, 8)
    ).to(config.device)
    trainer = Trainer(config, model, [Ema(model, config.ema_decay), Log()])
    trainer.fit(DataLoader(train, config.batch_size, shuffle=True), DataLoader(valid, config.batch_size))


if __name__ == "__main__":
    main()
