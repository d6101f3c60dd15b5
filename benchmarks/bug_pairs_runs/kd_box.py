"""Train a teacher on invented pictures, and distill it into a small student with the project's distillation box.

fix: 2833b8bd
depth: live 60
expects: -
where: program
stands in: the author's package myutils
"""

import sys

import torch
import torch.nn.functional as F
from stand_ins import stand_in
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

stand_in("myutils.pytorch.func_util")
stand_in("myutils.pytorch.module_util")
sys.path.insert(0, "src")

from tools.distillation import DistillationBox


def make_net(width):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(width * 36, 10),
    )  # fmt: skip


def accuracy(net, loader):
    net.eval()
    with torch.no_grad():
        right = sum((net(pictures).argmax(1) == labels).sum().item() for pictures, labels in loader)
    return right / len(loader.dataset)


torch.manual_seed(0)
labels = torch.randint(10, (400,))
pictures = torch.randn(400, 1, 12, 12)
pictures[torch.arange(400), 0, labels] += 1
training, validation = random_split(TensorDataset(pictures, labels), [320, 80])
training = DataLoader(training, batch_size=32, shuffle=True)
validation = DataLoader(validation, batch_size=32)

teacher = make_net(16)
optimizer = torch.optim.Adam(teacher.parameters(), lr=3e-3)
for epoch in range(4):
    teacher.train()
    for x, y in training:
        loss = F.cross_entropy(teacher(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
print(f"teacher: {accuracy(teacher, validation):.3f}")
teacher.requires_grad_(False)

student = make_net(4)
criterion = {"type": "kd", "params": {"temperature": 4.0, "alpha": 0.7}}
box = DistillationBox(teacher, student, {"type": "general", "org_term": {"criterion": criterion, "factor": 1.0}})
optimizer = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9)
for epoch in range(4):
    student.train()
    teacher.eval()
    total = 0.0
    for x, y in training:
        loss = box(x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(y)
    print(f"epoch {epoch}: loss {total / len(training.dataset):.4f} student {accuracy(student, validation):.3f}")
