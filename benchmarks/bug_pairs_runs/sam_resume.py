"""Train a classifier with sharpness-aware minimization, save a checkpoint half-way, and resume from it in a new run.

fix: 8973e2e1
depth: live 60
expects: -
where: program
"""

import os
import tempfile

import torch
import torch.nn.functional as F
from sam import SAM
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


def make_run():
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    optimizer = SAM(net.parameters(), torch.optim.SGD, rho=0.05, lr=0.2, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.2)
    return net, optimizer, scheduler


def train(net, optimizer, scheduler, epochs):
    for epoch in epochs:
        net.train()
        total = 0.0
        for x, y in training:

            def closure(x=x, y=y):
                again = F.cross_entropy(net(x), y)
                again.backward()
                return again

            loss = F.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step(closure)
            optimizer.zero_grad()
            total += loss.item() * len(y)
        scheduler.step()
        net.eval()
        with torch.no_grad():
            right = sum((net(x).argmax(1) == y).sum().item() for x, y in validation)
        accuracy = right / len(validation.dataset)
        print(f"epoch {epoch}: loss {total / len(training.dataset):.4f} validation {accuracy:.3f}")


torch.manual_seed(0)
centres = torch.randn(4, 16)
labels = torch.randint(4, (320,))
training, validation = random_split(TensorDataset(centres[labels] + 1.5 * torch.randn(320, 16), labels), [256, 64])
training = DataLoader(training, batch_size=32, shuffle=True)
validation = DataLoader(validation, batch_size=32)

path = os.path.join(tempfile.mkdtemp(), "checkpoint.pt")
net, optimizer, scheduler = make_run()
train(net, optimizer, scheduler, range(4))
state = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
torch.save(state, path)

net, optimizer, scheduler = make_run()
state = torch.load(path)
net.load_state_dict(state["net"])
optimizer.load_state_dict(state["optimizer"])
scheduler.load_state_dict(state["scheduler"])
train(net, optimizer, scheduler, range(4, 8))
