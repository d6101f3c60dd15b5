"""Train a snapshot ensemble of three small networks to classify digits, validating after each snapshot, and predict.

fix: 8c6c1d09
depth: live 60
expects: -
where: program
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchensemble import SnapshotEnsembleClassifier


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, x):
        return self.layers(x.flatten(1))


torch.manual_seed(0)
pictures, labels = load_digits(return_X_y=True)
pictures = torch.tensor(pictures, dtype=torch.float32).view(-1, 1, 8, 8) / 16
order = torch.randperm(len(pictures))
pictures, labels = pictures[order], torch.tensor(labels)[order]
training = DataLoader(TensorDataset(pictures[:1200], labels[:1200]), batch_size=50, shuffle=True)
testing = DataLoader(TensorDataset(pictures[1200:], labels[1200:]), batch_size=100)

model = SnapshotEnsembleClassifier(estimator=Network, n_estimators=3, cuda=False)
model.fit(training, init_lr=1e-2, epochs=12, log_interval=12, test_loader=testing, save_model=False)
print("accuracy", model.predict(testing))
