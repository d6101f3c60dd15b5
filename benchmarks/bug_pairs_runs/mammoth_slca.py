"""Run the project's main script with the model SLCA for two tasks of sequential CIFAR-100, on random pictures.

fix: a2159cd7
depth: live 60
expects: TW385
where: models/slca.py
stands in: torchvision (data set and transforms, most of which do nothing), timm, kornia
needs: six
"""

import runpy
import sys

import numpy as np
import torch
from stand_ins import HERE, stand_in
from torch import nn


class Transform:
    def __init__(self, *args, **kwargs):
        pass

    def __call__(self, picture):
        return picture


class ToTensor(Transform):
    def __call__(self, picture):
        return torch.tensor(np.array(picture)).permute(2, 0, 1) / 255


class Compose(Transform):
    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, picture):
        for transform in self.transforms:
            picture = transform(picture)
        return picture


class CIFAR100(torch.utils.data.Dataset):
    def __init__(self, root, train=True, transform=None, target_transform=None, download=False):
        self.transform, self.target_transform = transform, target_transform
        self.targets = np.random.permutation(np.repeat(np.arange(100), 7 if train else 3))
        colours = np.random.RandomState(0).randint(60, 190, (100, 1, 1, 3))[self.targets]
        self.data = (colours + np.random.randint(-60, 60, (len(self.targets), 32, 32, 3))).astype(np.uint8)

    def _check_integrity(self):
        return True

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return self.transform(self.data[index]), self.targets[index]


names = ("Resize", "RandomCrop", "RandomHorizontalFlip", "Normalize", "ToPILImage", "CenterCrop", "RandomResizedCrop")
stand_in("torchvision")
stand_in("torchvision.datasets", CIFAR100=CIFAR100)
stand_in("torchvision.transforms", ToTensor=ToTensor, Compose=Compose, **dict.fromkeys(names, Transform))
stand_in("torchvision.transforms.functional")
stand_in("torchvision.models")
stand_in("timm", create_model=lambda *args, **kwargs: nn.Identity())
for name in ("data", "models.helpers", "models.vision_transformer"):
    stand_in(f"timm.{name}")
stand_in("timm.models.layers", trunc_normal_=nn.init.trunc_normal_)
for name in ("", ".augmentation", ".augmentation.auto", ".augmentation.container.params"):
    stand_in(f"kornia{name}")

sys.argv = ["main.py", "--model", "slca", "--dataset", "seq-cifar100-224", "--feature_extractor_type", "resnet32"]
sys.argv += ["--lr", "0.05", "--n_epochs", "4", "--milestones", "2", "--batch_size", "16", "--stop_after", "2"]
sys.argv += ["--num_workers", "0", "--non_verbose", "1"]
runpy.run_path(str(HERE / "utils/main.py"), run_name="__main__")
