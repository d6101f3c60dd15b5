"""Compare generated pictures with real ones by the project's metrics that are computed from features of whole loaders.

fix: 855ea443
depth: live 60
expects: TW703
where: piq/base.py
stands in: torchvision (the type of the pretrained networks), the pretrained feature extractor (a small network)
"""

import torch
from stand_ins import stand_in
from torch import nn
from torch.utils.data import DataLoader, Dataset

stand_in("torchvision.models")
stand_in("torchvision.models.inception")
stand_in("torchvision.models.utils", load_state_dict_from_url=None)

from piq import FID, KID, MSID


class Pictures(Dataset):
    def __init__(self, count, noise):
        self.images = (torch.rand(count, 3, 1, 1) + noise * torch.randn(count, 3, 48, 48)).clamp(0, 1)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return {"images": self.images[index]}


class Features(nn.Module):
    """A network like the pretrained one: it returns a list with the features of one layer."""

    def __init__(self, dim):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 5, stride=2), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, dim, 3, stride=2), nn.BatchNorm2d(dim), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        )  # fmt: skip

    def forward(self, x):
        return [self.layers(x)]


torch.manual_seed(0)
extractor = Features(24)
real = DataLoader(Pictures(270, 0.1), batch_size=16)
for noise in (0.1, 0.2, 0.4):
    generated = DataLoader(Pictures(250, noise), batch_size=16)
    for metric in (FID(), KID(subset_size=50), MSID()):
        real_features = metric._compute_feats(real, feature_extractor=extractor, device="cpu")
        generated_features = metric._compute_feats(generated, feature_extractor=extractor, device="cpu")
        value = metric(generated_features, real_features)
        print(noise, type(metric).__name__, float(value))
