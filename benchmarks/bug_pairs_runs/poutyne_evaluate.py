"""Train a small classifier with the project's Model, keep its weights, and evaluate them on test data.

fix: 8f0f701f
depth: live 60
expects: TW356
where: pytoune/framework/model.py
"""

import torch
from pytoune.framework import Model
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def accuracy(scores, labels):
    return (scores.argmax(1) == labels).float().mean().reshape(1)


def build():
    network = nn.Sequential(
        nn.Linear(12, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 16), nn.ReLU(),
        nn.Linear(16, 4),
    )  # fmt: skip
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    return Model(network, optimizer, nn.CrossEntropyLoss(), metrics=[accuracy])


def samples(size):
    labels = torch.randint(4, (size,))
    return TensorDataset(centres[labels] + torch.randn(size, 12), labels)


torch.manual_seed(0)
centres = torch.randn(4, 12)
train_loader = DataLoader(samples(150), batch_size=16, shuffle=True)
valid_loader = DataLoader(samples(40), batch_size=16)
test_loader = DataLoader(samples(50), batch_size=16)

model = build()
model.fit_generator(train_loader, valid_loader, n_epochs=3)
model.save_weights("classifier.pt")

model = build()
model.load_weights("classifier.pt")
total_loss, total_accuracy = 0.0, 0.0
for x, y in test_loader:
    loss, (batch_accuracy,) = model.evaluate(x, y)
    total_loss += loss.item() * len(x)
    total_accuracy += batch_accuracy.item() * len(x)
print(f"test loss {total_loss / 50:.3f}, accuracy {total_accuracy / 50:.3f}")
