"""Train the project's VQGAN autoencoder on a folder of invented pictures with its own trainer.

fix: a3e3a6db
depth: live 60
expects: TW378
where: nuwa_pytorch/train_vqgan_vae.py
needs: einops, vector-quantize-pytorch
stands in: torchvision and its VGG network
"""

import random
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from stand_ins import HERE, package, stand_in
from torch import nn


class Compose:
    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, picture):
        for transform in self.transforms:
            picture = transform(picture)
        return picture


class Lambda:
    def __init__(self, function):
        self.function = function

    def __call__(self, picture):
        return self.function(picture)


class Resize:
    def __init__(self, size):
        self.size = size

    def __call__(self, picture):
        return picture.resize((self.size, self.size))


class CenterCrop(Resize):
    def __call__(self, picture):
        return picture.crop((0, 0, self.size, self.size))


class RandomHorizontalFlip:
    def __call__(self, picture):
        return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else picture


class ToTensor:
    def __call__(self, picture):
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255


stand_in("torchvision")
stand_in("torchvision.datasets", ImageFolder=None)
transforms = {one.__name__: one for one in (Compose, Lambda, Resize, CenterCrop, RandomHorizontalFlip, ToTensor)}
stand_in("torchvision.transforms", **transforms)
stand_in("torchvision.utils", make_grid=lambda pictures, **options: pictures, save_image=lambda grid, path: None)
package("nuwa_pytorch", HERE / "nuwa_pytorch")

from nuwa_pytorch.train_vqgan_vae import VQGanVAETrainer
from nuwa_pytorch.vqgan_vae import VQGanVAE

torch.manual_seed(0)
random.seed(0)
folder = Path(tempfile.mkdtemp())
(folder / "pictures").mkdir()
for index in range(40):
    picture = torch.rand(3, 1, 1) * torch.rand(1, 1, 32) + 0.3 * torch.rand(3, 32, 32)
    pixels = (picture.clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(folder / "pictures" / f"{index}.png")

features = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.Flatten())
vae = VQGanVAE(
    dim=16, image_size=32, num_layers=2, vgg=features, vq_codebook_size=32, vq_codebook_dim=16, attn_heads=2,
    attn_dim_head=16,
)  # fmt: skip
trainer = VQGanVAETrainer(
    vae, folder=str(folder / "pictures"), num_train_steps=12, lr=3e-4, batch_size=4, grad_accum_every=2,
    valid_frac=0.1, save_results_every=6, save_model_every=6, results_folder=str(folder / "results"),
)  # fmt: skip
trainer.train()

vae.eval()
with torch.no_grad():
    pictures = next(trainer.valid_dl)
    print("validation error", (vae(pictures) - pictures).abs().mean().item())
