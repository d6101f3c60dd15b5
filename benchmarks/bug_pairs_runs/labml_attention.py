"""Train the diffusion U-Net of the annotated papers on random pictures.

fix: 7d1550dd
depth: live 60
expects: TW224
where: labml_nn/diffusion/ddpm/unet.py
stands in: labml_helpers' Module
"""

import torch
from stand_ins import load, stand_in
from torch import nn

stand_in("labml_helpers.module", Module=nn.Module)
UNet = load("labml_nn/diffusion/ddpm/unet.py").UNet

model = UNet(image_channels=1, n_channels=32, ch_mults=(1, 2), is_attn=(False, True), n_blocks=1)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-5)
for _ in range(4):
    noisy, noise, t = torch.randn(2, 1, 16, 16), torch.randn(2, 1, 16, 16), torch.randint(1000, (2,))
    loss = nn.functional.mse_loss(model(noisy, t), noise)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
