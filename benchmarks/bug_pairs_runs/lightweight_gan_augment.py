"""Test an augmentation on a picture, then train the GAN with the README's augmentations, by the project's commands.

fix: 5d126850
depth: live 60
expects: -
where: program
stands in: torchvision (its transforms, by as much as is used), kornia, pytorch_fid, adabelief_pytorch, fire, retry, and
  a CPU in place of the GPU
needs: einops, gsa_pytorch
"""

import functools
import multiprocessing
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from stand_ins import stand_in
from torch import nn


class TorchOnCPU:
    device = staticmethod(lambda name: torch.device("cpu"))

    def __getattr__(self, name):
        return getattr(torch, name)


def to_tensor(image):
    return torch.tensor(np.asarray(image)).permute(2, 0, 1) / 255


transforms = stand_in(
    "torchvision.transforms",
    Compose=lambda steps: lambda image: functools.reduce(lambda value, step: step(value), steps, image),
    Lambda=lambda step: step,
    Resize=lambda size: lambda image: image.resize((size, size)),
    CenterCrop=lambda size: lambda image: image.crop((0, 0, size, size)),
    RandomResizedCrop=lambda size, **kwargs: lambda image: image.resize((size, size)),
    ToTensor=lambda: to_tensor,
)
utils = stand_in("torchvision.utils", save_image=lambda images, path, nrow: print(path, tuple(images.shape)))
stand_in("torchvision", transforms=transforms, utils=utils)
for name in ("kornia", "pytorch_fid", "adabelief_pytorch", "fire"):
    stand_in(name)
stand_in("retry.api", retry_call=lambda function, **kwargs: function())

is_available, cpu_count = torch.cuda.is_available, multiprocessing.cpu_count
torch.cuda.is_available, multiprocessing.cpu_count = lambda: True, lambda: 0  # no workers
import lightweight_gan.lightweight_gan as gan
from lightweight_gan.cli import train_from_folder

torch.cuda.is_available, multiprocessing.cpu_count = is_available, cpu_count
torch.Tensor.cuda = nn.Module.cuda = lambda self, rank=0: self
gan.torch = TorchOnCPU()

Path("data").mkdir(exist_ok=True)
for i in range(13):
    blocks = np.random.randint(0, 255, (8, 8, 3), np.uint8)
    Image.fromarray(blocks).resize((32, 32), Image.BILINEAR).save(f"data/{i}.png")

train_from_folder(data="data/0.png", image_size=32, batch_size=6, aug_test=True, aug_types=["offset"])
train_from_folder(
    data="data",
    new=True,
    image_size=32,
    fmap_max=32,
    batch_size=3,
    gradient_accumulate_every=1,
    num_train_steps=9,
    aug_prob=0.5,
    aug_types=["color", "cutout", "offset", "translation"],
)
