"""Train the two-level VQ-VAE on random pictures with the training function of the project's script.

fix: ef5f67c4
depth: live 60
expects: -
where: program
stands in: torchvision (the pictures and the writing of samples)
"""

import os

import torch
from stand_ins import stand_in
from torch import optim
from torch.utils.data import DataLoader, Dataset


def save_image(images, path, **options):
    torch.save(images, path)


utils = stand_in("torchvision.utils", save_image=save_image)
stand_in("torchvision", utils=utils)
from train_vqvae import train
from vqvae import VQVAE


class Pictures(Dataset):
    def __len__(self):
        return 18

    def __getitem__(self, index):
        return torch.randn(3, 1, 1) * 0.3 + torch.rand(3, 64, 64) - 0.5, index % 3


device = "cpu"
os.makedirs("sample", exist_ok=True)
os.makedirs("checkpoint", exist_ok=True)
loader = DataLoader(Pictures(), batch_size=4, shuffle=True)
model = VQVAE(channel=32, n_res_block=2, n_res_channel=16, embed_dim=16, n_embed=64).to(device)
optimizer = optim.Adam(model.parameters(), lr=3e-4)
scheduler = None
for epoch in range(2):
    train(epoch, loader, model, optimizer, scheduler, device)
    torch.save(model.state_dict(), f"checkpoint/vqvae_{str(epoch + 1).zfill(3)}.pt")
