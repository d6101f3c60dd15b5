"""Train a small ResNeXt on pictures of the size of CIFAR's and test it after each epoch.

fix: 283c08e2
depth: live 60
expects: TW397
where: models/model.py
"""

import torch
import torch.nn.functional as F
from models.model import CifarResNeXt
from torch.utils.data import DataLoader, TensorDataset


def make_pictures(count):
    labels = torch.randint(10, (count,))
    colors = torch.linspace(-1, 1, 30).view(10, 3)
    return TensorDataset(colors[labels][:, :, None, None] + torch.randn(count, 3, 32, 32) * 0.5, labels)


torch.manual_seed(0)
train_loader = DataLoader(make_pictures(64), batch_size=8, shuffle=True)
test_loader = DataLoader(make_pictures(24), batch_size=8)
net = CifarResNeXt(cardinality=1, depth=11, nlabels=10)
optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4, nesterov=True)
for epoch in range(3):
    net.train()
    for pictures, labels in train_loader:
        output = net(pictures)
        optimizer.zero_grad()
        loss = F.cross_entropy(output, labels)
        loss.backward()
        optimizer.step()
    net.eval()
    correct, test_loss = 0, 0.0
    with torch.no_grad():
        for pictures, labels in test_loader:
            output = net(pictures)
            test_loss += F.cross_entropy(output, labels, reduction="sum").item()
            correct += (output.argmax(1) == labels).sum().item()
    print(f"epoch {epoch}: training {loss.item():.3f} test {test_loss / 24:.3f} accuracy {correct / 24:.2f}")
