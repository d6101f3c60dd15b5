"""Train the project's DenseNet on invented pictures, then fit the temperature on the validation set and test.

fix: 6ba12d8e
depth: live 60
expects: -
where: program
stands in: the GPU
"""

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.nn.Module.cuda = lambda self, *args: self
torch.Tensor.cuda = lambda self, *args: self

from models import DenseNet
from temperature_scaling import ModelWithTemperature


def make_pictures(count):
    labels = torch.randint(10, (count,))
    shades = torch.linspace(-1, 1, 10)[labels].view(-1, 1, 1, 1)
    return TensorDataset(torch.randn(count, 3, 32, 32) + shades, labels)


def make_net():
    return DenseNet(growth_rate=6, block_config=(2, 2, 2), num_init_features=12, num_classes=10)


def test(net, loader):
    net.eval()
    right = 0
    with torch.no_grad():
        for pictures, labels in loader:
            right += (net(pictures).argmax(1) == labels).sum().item()
    return right / len(loader.dataset)


torch.manual_seed(0)
training, validation = random_split(make_pictures(200), [152, 48])
training = DataLoader(training, batch_size=16, shuffle=True)
validation = DataLoader(validation, batch_size=16)
testing = DataLoader(make_pictures(64), batch_size=16)

net = make_net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, nesterov=True)
for epoch in range(6):
    net.train()
    total = 0.0
    for pictures, labels in training:
        loss = F.cross_entropy(net(pictures), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
    print(f"epoch {epoch}: loss {total / len(training.dataset):.4f} validation {test(net, validation):.3f}")
weights = net.state_dict()

trained = make_net()
trained.load_state_dict(weights)
calibrated = ModelWithTemperature(trained)
calibrated.set_temperature(validation)
print(f"temperature {calibrated.temperature.item():.4f} test accuracy {test(calibrated, testing):.3f}")
