"""Run the project's tutorial for a two-dimensional VQGAN with smaller numbers, on invented head pictures.

fix: 581336ec
depth: live 60
expects: TW301
where: tutorials/generative/2d_vqgan/2d_vqgan_tutorial.py
stands in: the download of MedNIST, the perceptual loss's pretrained network, matplotlib
needs: monai
"""

import sys
import tempfile
from pathlib import Path
from unittest.mock import MagicMock

import monai.apps
import numpy as np
from PIL import Image
from stand_ins import HERE, package, stand_in
from torch import nn


class MedNISTDataset:
    def __init__(self, root_dir, section, **kwargs):
        random = np.random.RandomState(len(section))
        self.data = []
        for i in range(30 if section == "training" else 10):
            y, x = np.mgrid[-1:1:64j, -1:1:64j]
            a, b = random.uniform(0.5, 0.9, 2)
            head = (x / a) ** 2 + (y / b) ** 2 < 1
            pixels = np.clip(120 * head + 40 * head * np.sin(6 * x * a) + random.rand(64, 64) * 30, 0, 255)
            path = Path(root_dir) / f"{section}{i}.png"
            Image.fromarray(pixels.astype(np.uint8)).save(path)
            self.data.append({"image": str(path), "class_name": ("HeadCT", "Hand")[i % 3 == 2]})


class PerceptualLoss(nn.Module):
    def __init__(self, spatial_dims, network_type):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2))
        self.features.requires_grad_(False)

    def forward(self, reconstruction, images):
        return (self.features(reconstruction) - self.features(images)).pow(2).mean()


plot = MagicMock()
plot.subplots.return_value = (MagicMock(), MagicMock())
stand_in("matplotlib", pyplot=plot)
sys.modules["matplotlib.pyplot"] = plot
package("generative", HERE / "generative")
package("generative.losses", HERE / "generative/losses")
stand_in("generative.losses.perceptual", PerceptualLoss=PerceptualLoss)
monai.apps.MedNISTDataset = MedNISTDataset
tempfile.tempdir = str(HERE)

path = HERE / "tutorials/generative/2d_vqgan/2d_vqgan_tutorial.py"
text = path.read_text()
for number, smaller in (
    ("n_epochs = 100", "n_epochs = 4"),
    ("val_interval = 10", "val_interval = 1"),
    ("batch_size=256", "batch_size=8"),
    ("num_workers=4, persistent_workers=True", "num_workers=0"),
    ('torch.device("cuda")', 'torch.device("cpu")'),
    ("num_channels=64", "num_channels=16"),
    ("[256, 512]", "[24, 32]"),
    ("num_channels=256", "num_channels=[24, 32], num_res_channels=[24, 32]"),
):
    text = text.replace(number, smaller)
exec(compile(text, str(path), "exec"), {"__name__": "__main__", "__file__": str(path)})
