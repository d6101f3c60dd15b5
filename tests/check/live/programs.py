"""Trainings that must be the same to the last bit with and without the guard; each leaves its numbers in ``result``."""

from __future__ import annotations

HEAD = """
import torch
from torch import nn
import torch.nn.functional as F

torch.manual_seed(1)
"""
TAIL = """
result = [*model.parameters(), *model.buffers(), torch.get_rng_state(), torch.tensor(losses)]
"""


def program(body: str) -> str:
    """Complete a program: what every one begins and ends with."""
    return HEAD + body + TAIL


PROGRAMS = {
    "plain": program('''
model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
losses = []
for step in range(8):
    loss = F.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
'''),
    "schedulers": program('''
model = nn.Linear(4, 3)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
warm = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=3)
decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, [warm, decay], [3])
losses = []
for step in range(8):
    loss = F.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    losses.append(loss.item() + optimizer.param_groups[0]["lr"])
'''),
    "scheduler made within": program('''
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
losses = []
for step in range(8):
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.9)
    loss = F.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    losses.append(loss.item())
'''),
    "scaler": program('''
model = nn.Sequential(nn.Linear(4, 16), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, growth_interval=2)
losses = []
for step in range(10):
    with torch.autocast("cpu", torch.bfloat16):
        loss = F.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,)))
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    scaler.step(optimizer)
    scaler.update()
    losses.append(loss.item() + scaler.get_scale())
'''),
    "accumulation": program('''
model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.GELU(), nn.Linear(16, 3))
optimizer = torch.optim.Adam(model.parameters(), foreach=True)
losses = []
for step in range(12):
    loss = F.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,))) / 3
    loss.backward()
    if step % 3 == 2:
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
    losses.append(loss.item())
'''),
    "two optimizers": program('''
model = nn.ModuleList([nn.Linear(4, 8), nn.Sequential(nn.Linear(8, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))])
make, judge = model
first = torch.optim.Adam(make.parameters(), lr=0.01)
second = torch.optim.RMSprop(judge.parameters(), lr=0.01)
losses = []
for step in range(6):
    fake = make(torch.randn(8, 4))
    second.zero_grad()
    bad = F.softplus(judge(fake.detach())).mean() + F.softplus(-judge(torch.randn(8, 8))).mean()
    bad.backward()
    second.step()
    first.zero_grad()
    good = F.softplus(-judge(fake)).mean()
    good.backward()
    first.step()
    losses += [bad.item(), good.item()]
'''),
    "closure": program('''
model = nn.Linear(4, 1)
optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)
x, y, losses = torch.randn(16, 4), torch.randn(16, 1), []
for step in range(3):
    def closure():
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        losses.append(loss.item())
        return loss
    optimizer.step(closure)
'''),
    "checkpoint and hooks": program('''
from torch.utils.checkpoint import checkpoint
body, head = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.2), nn.Tanh()), nn.Linear(16, 3)
model = nn.ModuleList([body, head])
seen = []
head.register_forward_hook(lambda module, args, out: seen.append(out.detach().sum()))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
losses = []
for step in range(6):
    x = torch.randn(8, 4)
    loss = F.cross_entropy(head(checkpoint(body, x, use_reentrant=False)), torch.randint(3, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses += [loss.item(), seen[-1].item()]
'''),
    "loader with workers": program('''
import random
import numpy
from torch.utils.data import DataLoader, Dataset
class Data(Dataset):
    def __len__(self):
        return 24
    def __getitem__(self, i):
        return torch.randn(4) + random.random() + numpy.random.rand(), i % 3
model = nn.Linear(4, 3).double()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
losses = []
random.seed(0)
numpy.random.seed(0)
for x, y in DataLoader(Data(), batch_size=4, shuffle=True, num_workers=2):
    loss = F.cross_entropy(model(x.double()), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
losses += [random.random(), numpy.random.rand()]
'''),
    "transformer with evaluation": program('''
layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
model = nn.Sequential(nn.Embedding(20, 16), nn.TransformerEncoder(layer, 2), nn.Linear(16, 20))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
losses = []
for step in range(5):
    ids = torch.randint(20, (4, 9))
    loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        losses.append(model(ids).sum().item())
    model.train()
'''),
    "much at once": program('''
import io
from torch.utils.data import DataLoader, TensorDataset
body = [nn.Embedding(12, 16), nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 12)]
model = nn.Sequential(*body)
model.apply(lambda m: nn.init.normal_(m.weight, std=0.1) if isinstance(m, nn.Linear) else None)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=True)
schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: max(0.05, 1 - n / 20))
scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
data = TensorDataset(torch.randint(12, (32, 4)), torch.randint(12, (32,)))
losses = []
for epoch in range(2):
    for x, y in DataLoader(data, batch_size=8, shuffle=True, collate_fn=lambda s: [torch.stack(t) for t in zip(*s)]):
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        schedule.step()
        losses.append(loss.item() + optimizer.param_groups[0]["lr"])
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, io.BytesIO())
    model.eval()
    with torch.no_grad():
        losses.append(model(x).sum().item())
    model.train()
'''),
    "by hand": program('''
model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))
losses = []
for step in range(8):
    loss = F.mse_loss(model(torch.randn(8, 4)), torch.randn(8, 1))
    gradients = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
    (loss + 0.1 * sum(g.pow(2).sum() for g in gradients)).backward()
    with torch.no_grad():
        for p in model.parameters():
            p -= 0.1 * p.grad
            p.grad = None
    losses.append(loss.item())
'''),
    "compiled": program('''
model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
fast = torch.compile(model, backend="aot_eager")
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
losses = []
for step in range(5):
    loss = F.cross_entropy(fast(torch.randn(8, 4)), torch.randint(3, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
'''),
}  # fmt: skip
