"""Train a small C-ViViT on pictures with the project's trainer, discriminator included.

fix: 3c33570c
depth: live 60
expects: -
where: program
needs: einops, beartype, ema_pytorch==0.1.4, vector_quantize_pytorch==0.10.15
stands in: torchvision and the folder of pictures (invented ones take its place)
"""

import os
import tempfile

import torch
from stand_ins import load, stand_in
from torch import nn
from torch.utils.data import Dataset

os.environ["ACCELERATE_USE_CPU"] = "true"


class Pictures(Dataset):
    def __init__(self, folder, image_size):
        rows, columns = torch.meshgrid(torch.linspace(0, 6, 16), torch.linspace(0, 6, 16), indexing="ij")
        waves = torch.rand(48, 3, 2) * 2
        self.pictures = 0.5 + 0.5 * torch.sin(waves[..., :1, None] * rows + waves[..., 1:, None] * columns)

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, at):
        return self.pictures[at]


stand_in("torchvision.transforms")
stand_in("torchvision.datasets")
stand_in("torchvision.utils", make_grid=lambda pictures, **kwargs: pictures, save_image=lambda grid, path: None)
stand_in("phenaki_pytorch.data", ImageDataset=Pictures)
CViViT = load("phenaki_pytorch/cvivit.py").CViViT
CViViTTrainer = load("phenaki_pytorch/cvivit_trainer.py").CViViTTrainer

torch.manual_seed(0)
features = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(392, 16))
vae = CViViT(
    dim=32, codebook_size=64, image_size=16, patch_size=4, temporal_patch_size=2, spatial_depth=1, temporal_depth=1,
    dim_head=8, heads=4, discr_base_dim=8, discr_attn_res_layers=(8,), vgg=features.requires_grad_(False),
)  # fmt: skip
trainer = CViViTTrainer(
    vae, num_train_steps=16, batch_size=4, folder="pictures", train_on_images=True, lr=1e-3, grad_accum_every=2,
    valid_frac=0.1, save_results_every=8, save_model_every=16, results_folder=tempfile.mkdtemp(), ema_update_after_step=2,
)  # fmt: skip
trainer.train()
