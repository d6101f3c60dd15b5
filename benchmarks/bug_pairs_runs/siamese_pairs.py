"""Learn an embedding of digits with the online contrastive loss and hard negative pairs, and validate each epoch.

fix: 9512643d
depth: live 60
expects: -
where: program
stands in: the data set MNIST, by invented pictures of ten classes
"""

import numpy as np
import torch
from datasets import BalancedBatchSampler
from losses import OnlineContrastiveLoss
from networks import EmbeddingNet
from torch.utils.data import DataLoader, Dataset
from utils import AllPositivePairSelector, HardNegativePairSelector

torch.manual_seed(0)
np.random.seed(0)


class Digits(Dataset):
    def __init__(self, shapes, count, train):
        self.train = train
        labels = torch.randint(len(shapes), (count,))
        self.data = shapes[labels] + 0.5 * torch.randn(count, 1, 28, 28)
        if train:
            self.train_labels = labels
        else:
            self.test_labels = labels
        self.labels = labels

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return self.data[index], self.labels[index]


shapes = torch.rand(10, 1, 28, 28)
train_set, test_set = Digits(shapes, 600, train=True), Digits(shapes, 200, train=False)
train_loader = DataLoader(train_set, batch_sampler=BalancedBatchSampler(train_set, n_classes=8, n_samples=5))
test_loader = DataLoader(test_set, batch_size=40)

model = EmbeddingNet()
train_loss = OnlineContrastiveLoss(1.0, HardNegativePairSelector(cpu=True))
test_loss = OnlineContrastiveLoss(1.0, AllPositivePairSelector(balance=False))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)

for epoch in range(4):
    model.train()
    losses = []
    for data, target in train_loader:
        optimizer.zero_grad()
        loss = train_loss(model(data), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    scheduler.step()
    model.eval()
    with torch.no_grad():
        test_losses = [test_loss(model(data), target).item() for data, target in test_loader]
    print(f"epoch {epoch}: train {np.mean(losses):.4f} test {np.mean(test_losses):.4f}")
