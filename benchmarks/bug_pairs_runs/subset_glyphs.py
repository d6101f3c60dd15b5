"""Classify glyphs of two merged collections with the project's data sets, on a random split into training and validation.

fix: b7f1c195
depth: live 60
expects: TW555
where: torchelie/datasets/__init__.py
stands in: torchvision (imported by the project, not used here)
"""

import torch
from stand_ins import HERE, package, stand_in
from torch import nn
from torch.utils.data import DataLoader, Dataset

for name in ("torchvision", "torchvision.datasets", "torchvision.datasets.utils", "torchvision.transforms"):
    stand_in(name)
stand_in("torchvision.transforms.functional")
package("torchelie", HERE / "torchelie")

from torchelie.datasets import HorizontalConcatDataset, Subset

torch.manual_seed(0)


class Glyphs(Dataset):
    def __init__(self, names, count):
        self.classes = names
        self.class_to_idx = {name: index for index, name in enumerate(names)}
        patterns = torch.rand(len(names), 1, 8, 8).round()
        labels = [index % len(names) for index in range(count)]
        self.samples = [((patterns[label] + 0.6 * torch.randn(1, 8, 8)), label) for label in labels]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


everything = HorizontalConcatDataset([Glyphs(list("abc"), 120), Glyphs(list("0123"), 160)])
training = DataLoader(Subset(everything, ratio=0.8, seed=42), batch_size=16, shuffle=True)
validation = DataLoader(Subset(everything, ratio=0.8, seed=42, include=False), batch_size=16)

model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, len(everything.classes)))
optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
criterion = nn.CrossEntropyLoss()
for epoch in range(4):
    model.train()
    for glyphs, labels in training:
        loss = criterion(model(glyphs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = sum((model(glyphs).argmax(1) == labels).sum().item() for glyphs, labels in validation)
    print(f"epoch {epoch}: loss {loss.item():.3f} right {right} of {len(validation.dataset)}")
