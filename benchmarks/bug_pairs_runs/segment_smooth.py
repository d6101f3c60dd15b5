"""Train a small segmentation network with an auxiliary head and the label smoothing loss, and validate each epoch.

fix: c950d64e
depth: live 60
expects: TW576
where: label_smooth.py
"""

import torch
from label_smooth import LabelSmoothSoftmaxCE
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

VOID = 255


class Segmenter(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.head = nn.Conv2d(16, classes, 1)
        self.auxiliary = nn.Conv2d(16, classes, 1)

    def forward(self, x):
        low = self.stem(x)
        return self.head(self.body(low)), self.auxiliary(low)


def scenes(count):
    labels = torch.randint(5, (count, 4, 4)).repeat_interleave(6, 1).repeat_interleave(6, 2)
    pictures = torch.eye(5)[labels].permute(0, 3, 1, 2)[:, :3] + 0.3 * torch.randn(count, 3, 24, 24)
    labels[:, ::6] = VOID
    labels[:, :, ::6] = VOID
    return TensorDataset(pictures, labels)


torch.manual_seed(0)
train_loader = DataLoader(scenes(64), batch_size=8, shuffle=True)
val_loader = DataLoader(scenes(24), batch_size=8)
net = Segmenter(5)
criterion = LabelSmoothSoftmaxCE(lb_pos=0.9, lb_neg=0.025, lb_ignore=VOID)
auxiliary_criterion = LabelSmoothSoftmaxCE(lb_pos=0.9, lb_neg=0.025, lb_ignore=VOID)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)

for epoch in range(3):
    net.train()
    total = 0.0
    for pictures, labels in train_loader:
        out, auxiliary = net(pictures)
        loss = criterion(out, labels) + 0.4 * auxiliary_criterion(auxiliary, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    net.eval()
    right = valid = 0
    with torch.no_grad():
        for pictures, labels in val_loader:
            known = labels != VOID
            right += (net(pictures)[0].argmax(1) == labels)[known].sum().item()
            valid += known.sum().item()
    print(f"epoch {epoch}: loss {total / len(train_loader):.4f} pixel accuracy {right / valid:.3f}")
