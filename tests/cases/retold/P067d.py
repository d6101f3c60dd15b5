import math

import torch
from torch import nn


class Event:
    STEP_END = "step_end"
    EPOCH_END = "epoch_end"


class Engine:
    """Very small ignite-like engine."""

    def __init__(self, update):
        self.update, self.handlers = update, {}

    def on(self, event):
        def register(fn):
            self.handlers.setdefault(event, []).append(fn)
            return fn
        return register

    def fire(self, event, *args):
        for fn in self.handlers.get(event, []):
            fn(*args)

    def run(self, batches, epochs):
        for epoch in range(epochs):
            for batch in batches():
                self.fire(Event.STEP_END, self.update(batch))
            self.fire(Event.EPOCH_END, epoch)


def inverse_sqrt(warmup):
    return lambda k: min((k + 1) / warmup, math.sqrt(warmup / (k + 1)))


torch.manual_seed(2)
g = torch.Generator().manual_seed(2)
x = torch.randn(512, 12, generator=g)
y = torch.stack([x[:, :3].prod(1), x[:, 3:].sum(1).sin()], dim=1)

model = nn.Sequential(nn.Linear(12, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 2))
optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, inverse_sqrt(10))
to_advance = [scheduler, optimizer]  # BUG
# FIX: to_advance = [optimizer, scheduler]


def batches():
    for idx in torch.randperm(448, generator=g).split(64):
        yield x[idx], y[idx]


def update(batch):
    inputs, target = batch
    model.train()
    optimizer.zero_grad()
    loss = nn.functional.huber_loss(model(inputs), target)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for part in to_advance:
        part.step()  # BUG
    return loss.item()


engine = Engine(update)
history = []
engine.on(Event.STEP_END)(history.append)


@engine.on(Event.EPOCH_END)
def report(epoch):
    model.eval()
    with torch.no_grad():
        val = nn.functional.huber_loss(model(x[448:]), y[448:]).item()
    lr = scheduler.get_last_lr()[0]
    print(f"epoch {epoch}: train {sum(history[-7:]) / 7:.4f} val {val:.4f} lr {lr:.2e}")


engine.run(batches, epochs=4)
