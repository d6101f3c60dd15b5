"""Train a classifier with the manager of pytorch-pfn-extras, which logs the reported losses and evaluates each epoch.

fix: 39fd0711
depth: live 60
expects: TW315
where: program
"""

import tempfile

import pytorch_pfn_extras as ppe
import pytorch_pfn_extras.training.extensions as extensions
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def make_digits(count):
    labels = torch.randint(10, (count,))
    return TensorDataset(torch.eye(10)[labels].repeat(1, 8) + torch.randn(count, 80) * 0.8, labels)


def test(pictures, labels):
    model.eval()
    output = model(pictures)
    ppe.reporting.report({"val/loss": F.cross_entropy(output, labels).item()})
    ppe.reporting.report({"val/acc": (output.argmax(1) == labels).float().mean().item()})


torch.manual_seed(0)
train_loader = DataLoader(make_digits(400), batch_size=20, shuffle=True)
test_loader = DataLoader(make_digits(100), batch_size=20)
model = nn.Sequential(nn.Linear(80, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.5)
manager = ppe.training.ExtensionsManager(
    model, optimizer, 3, iters_per_epoch=len(train_loader), out_dir=tempfile.mkdtemp(),
    extensions=[
        extensions.LogReport(),
        extensions.observe_lr(optimizer=optimizer),
        extensions.Evaluator(test_loader, model, eval_func=test),
        extensions.PrintReport(["epoch", "iteration", "train/loss", "lr", "val/loss", "val/acc"]),
    ],
)  # fmt: skip
while not manager.stop_trigger:
    model.train()
    for pictures, labels in train_loader:
        with manager.run_iteration():
            optimizer.zero_grad()
            loss = F.cross_entropy(model(pictures), labels)
            ppe.reporting.report({"train/loss": loss})
            loss.backward()
            optimizer.step()
