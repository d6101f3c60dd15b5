"""Train the project's InfoGAN for a few epochs on frames of random colours.

fix: a6a32527
depth: live 60
expects: TW301
where: models/infogan.py
stands in: torchvision's save_image, and the loss of old torch, which took labels of another shape
"""

import os

import torch
from stand_ins import load, stand_in
from torch import nn
from torch.utils.data import Dataset


class Frames(Dataset):
    def __len__(self):
        return 12

    def __getitem__(self, index):
        frame = torch.rand(3, 1, 1) * torch.ones(3, 128, 128) + 0.1 * torch.rand(3, 128, 128)
        return {"image": frame.clamp(0, 1)}


def save_image(images, path, nrow):
    torch.save(images, path)


stand_in("torchvision.utils", save_image=save_image)
infogan = load("models/infogan.py")


class BCELoss(nn.BCELoss):
    def forward(self, inputs, targets):
        return super().forward(inputs.view_as(targets), targets)


class InfoGAN(infogan.InfoGAN):
    def loss(self):
        return BCELoss(), *super().loss()[1:]


os.makedirs("infogan/inference", exist_ok=True)
generator = infogan.Generator(
    latent_space_dimension=128, conv_kernel_size=2, conv_layers=4, hidden_dim=32, height=128, width=128,
    input_channels=3,
)  # fmt: skip
discriminator = infogan.Discriminator_recognizer(
    input_channels=3, conv_layers=4, pool_kernel_size=2, conv_kernel_size=3, height=128, width=128, hidden=32,
    cat_dim=10, cont_dim=2,
)  # fmt: skip
model = InfoGAN(
    generator=generator, discriminator=discriminator, dataset=Frames(), num_epochs=3, random_seed=1, shuffle=True,
    use_cuda=False, tensorboard_summary_writer=None, output_folder="infogan", generator_lr=1e-4,
    discriminator_lr=1e-4, batch_size=4,
)  # fmt: skip
model.set_seed()
model.train()
