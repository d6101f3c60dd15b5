"""Train the prototypical network of the project's example on batches of tasks, and validate it on tasks of other classes.

fix: f7ade61a
depth: live 60
expects: -
where: program
stands in: torchvision, h5py (only for the project's own data sets), a method that torch now asks of subsets
"""

from itertools import islice

import numpy as np
import torch
from stand_ins import load, stand_in


class Compose:
    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, value):
        for transform in self.transforms:
            value = transform(value)
        return value


stand_in("h5py")
stand_in("torchvision")
stand_in("torchvision.transforms", Compose=Compose)
for name in ("transforms.functional", "datasets.utils"):
    stand_in(f"torchvision.{name}")

from torchmeta.transforms import Categorical, ClassSplitter
from torchmeta.utils.data import BatchMetaDataLoader, ClassDataset, CombinationMetaDataset
from torchmeta.utils.data.task import Dataset, SubsetTask

SubsetTask.__getitems__ = lambda self, indices: [self[index] for index in indices]
PrototypicalNetwork = load("examples/protonet/model.py").PrototypicalNetwork
protonet = load("examples/protonet/utils.py")


class Character(Dataset):
    def __init__(self, shape, target_transform, label):
        super().__init__(target_transform=target_transform)
        self.images, self.label = shape + 0.7 * np.random.randn(12, 1, 16, 16), label

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return torch.tensor(self.images[index]).float(), self.target_transform(self.label)


class Characters(ClassDataset):
    num_classes = 30

    def __init__(self, **split):
        super().__init__(**split)
        self.shapes = np.random.randn(self.num_classes, 1, 16, 16)

    def __getitem__(self, index):
        return Character(self.shapes[index], self.get_target_transform(index), index)


def tasks(**split):
    dataset = CombinationMetaDataset(Characters(**split), num_classes_per_task=5, target_transform=Categorical(5))
    return ClassSplitter(dataset, shuffle=True, num_train_per_class=3, num_test_per_class=6)


def forward(batch):
    (train_inputs, train_targets), (test_inputs, test_targets) = batch["train"], batch["test"]
    prototypes = protonet.get_prototypes(model(train_inputs), train_targets, 5)
    return prototypes, model(test_inputs), test_targets


model = PrototypicalNetwork(1, 16, hidden_size=16)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
train_loader = BatchMetaDataLoader(tasks(meta_train=True), batch_size=4)
val_loader = BatchMetaDataLoader(tasks(meta_val=True), batch_size=4)
for _ in range(2):
    model.train()
    for batch in islice(train_loader, 20):
        loss = protonet.prototypical_loss(*forward(batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        for batch in islice(val_loader, 6):
            print(float(protonet.get_accuracy(*forward(batch))))
