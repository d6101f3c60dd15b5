"""Train a wide residual network of the project, and distill it into a thin one, on invented pictures.

fix: 4133ac53
depth: live 60
expects: -
where: program
needs: nested_dict, tqdm
stands in: torchvision, torchnet
"""

import torch
import torch.nn.functional as F
from stand_ins import stand_in
from torch.utils.data import DataLoader, TensorDataset, random_split

stand_in("torchvision.transforms")
stand_in("torchvision.datasets")
stand_in("torchnet.engine")

import utils
from cifar import resnet

CLASSES = 10


def accuracy(f, params, loader):
    with torch.no_grad():
        right = sum((f(x, params, False)[0].argmax(1) == y).sum().item() for x, y in loader)
    return right / len(loader.dataset)


def make_optimizer(params, lr):
    return torch.optim.SGD([v for v in params.values() if v.requires_grad], lr, momentum=0.9, weight_decay=5e-4)


torch.manual_seed(0)
labels = torch.randint(CLASSES, (320,))
pictures = torch.randn(320, 3, 32, 32)
pictures[torch.arange(320), labels % 3] += (labels // 3 - 1.5).view(-1, 1, 1)
training, validation = random_split(TensorDataset(pictures, labels), [256, 64])
training = DataLoader(training, batch_size=16, shuffle=True)
validation = DataLoader(validation, batch_size=16)

f_t, params_t = resnet(10, 1, CLASSES)
optimizer = make_optimizer(params_t, 0.05)
for epoch in range(3):
    for x, y in training:
        loss = F.cross_entropy(f_t(x, params_t, True)[0], y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"teacher epoch {epoch}: validation {accuracy(f_t, params_t, validation):.3f}")

f_s, params_s = resnet(10, 0.5, CLASSES)
optimizer = make_optimizer(params_s, 0.05)
for epoch in range(3):
    total = 0.0
    for x, y in training:
        with torch.no_grad():
            teacher = f_t(x, params_t, False)[0]
        loss = utils.distillation(f_s(x, params_s, True)[0], teacher, y, 4, 0.9)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(y)
    print(
        f"student epoch {epoch}: loss {total / len(training.dataset):.4f} "
        f"validation {accuracy(f_s, params_s, validation):.3f}"
    )
