"""Train a small residual network on the ten-class pictures with the project's loaders, and test it each epoch.

fix: e1a88846
depth: live 60
expects: -
where: program
stands in: torchvision with its data set
"""

import random
import tempfile

import numpy as np
import torch
from PIL import Image
from stand_ins import load, stand_in
from torch.nn import functional as F
from torch.utils.data import Dataset


class STL10(Dataset):
    def __init__(self, root, split, download, transform):
        rng = np.random.default_rng(0 if split == "train" else 1)
        patterns = np.random.default_rng(9).integers(0, 256, (10, 4, 4, 3)).astype(np.uint8)
        self.labels = np.arange(320 if split == "train" else 100) % 10
        self.pictures = []
        for label in self.labels:
            clean = np.array(Image.fromarray(patterns[label]).resize((96, 96), Image.BICUBIC), dtype=float)
            noisy = clean + rng.normal(0, 40, clean.shape)
            self.pictures.append(Image.fromarray(noisy.clip(0, 255).astype(np.uint8)))
        self.transform = transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.transform(self.pictures[index]), int(self.labels[index])


class Compose:
    def __init__(self, steps):
        self.steps = steps

    def __call__(self, image):
        for step in self.steps:
            image = step(image)
        return image


class Resize:
    def __init__(self, size):
        self.size = size

    def __call__(self, image):
        return image.resize((self.size, self.size), Image.BILINEAR)


class RandomCrop:
    def __init__(self, size, padding):
        self.size, self.padding = size, padding

    def __call__(self, image):
        wide = Image.new("RGB", tuple(side + 2 * self.padding for side in image.size))
        wide.paste(image, (self.padding, self.padding))
        left, top = (random.randint(0, side - self.size) for side in wide.size)
        return wide.crop((left, top, left + self.size, top + self.size))


class RandomHorizontalFlip:
    def __call__(self, image):
        return image.transpose(Image.FLIP_LEFT_RIGHT) if random.random() < 0.5 else image


class ToTensor:
    def __call__(self, image):
        return torch.tensor(np.array(image)).permute(2, 0, 1).float() / 255


class Normalize:
    def __init__(self, mean, std):
        self.mean, self.std = (torch.tensor(part)[:, None, None] for part in (mean, std))

    def __call__(self, tensor):
        return (tensor - self.mean) / self.std


transforms = stand_in(
    "torchvision.transforms", Compose=Compose, Resize=Resize, RandomCrop=RandomCrop, ToTensor=ToTensor,
    RandomHorizontalFlip=RandomHorizontalFlip, Normalize=Normalize,
)  # fmt: skip
stand_in("torchvision", transforms=transforms, datasets=stand_in("torchvision.datasets", STL10=STL10))
data = load("swag/data.py")
models = load("swag/models/preresnet.py")

random.seed(0)
torch.manual_seed(0)
scale = Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
transform_train = Compose([Resize(32), RandomHorizontalFlip(), RandomCrop(32, padding=4), ToTensor(), scale])
transform_test = Compose([Resize(32), ToTensor(), scale])
loaders, classes = data.loaders(
    "STL10", tempfile.mkdtemp(), 32, 0, transform_train, transform_test, use_validation=False
)
config = models.PreResNet8
model = config.base(*config.args, num_classes=classes, **config.kwargs)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5)

for epoch in range(5):
    model.train()
    for pictures, labels in loaders["train"]:
        loss = F.cross_entropy(model(pictures), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scheduler.step()
    model.eval()
    with torch.no_grad():
        right = sum((model(pictures).argmax(1) == labels).sum().item() for pictures, labels in loaders["test"])
    print(f"epoch {epoch}: loss {loss.item():.3f} test accuracy {right / len(loaders['test'].dataset):.2%}")
