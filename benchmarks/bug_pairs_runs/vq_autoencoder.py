"""Train a small autoencoder with a codebook from the project's encoder, quantizer and decoder, and validate it.

fix: 681709cf
depth: live 60
expects: -
where: program
"""

import torch
import torch.nn.functional as F
from taming.modules.diffusionmodules.model import Decoder, Encoder
from taming.modules.vqvae.quantize import VectorQuantizer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Autoencoder(nn.Module):
    def __init__(self, codes, width, **sizes):
        super().__init__()
        self.encoder, self.decoder = Encoder(**sizes), Decoder(**sizes)
        self.quantize = VectorQuantizer(codes, width, beta=0.25)
        self.before = nn.Conv2d(sizes["z_channels"], width, 1)
        self.after = nn.Conv2d(width, sizes["z_channels"], 1)

    def forward(self, x):
        quantized, codebook_loss, (perplexity, _, _) = self.quantize(self.before(self.encoder(x)))
        return self.decoder(self.after(quantized)), codebook_loss, perplexity


def pictures(count):
    at = torch.linspace(-1, 1, 32)
    centre = torch.rand(count, 2, 1, 1) - 0.5
    disc = ((at[:, None] - centre[:, 0]) ** 2 + (at[None, :] - centre[:, 1]) ** 2 < 0.15).float()
    return TensorDataset(disc[:, None] * torch.rand(count, 3, 1, 1) * 2 - 1)


torch.manual_seed(0)
train_loader = DataLoader(pictures(96), batch_size=12, shuffle=True)
val_loader = DataLoader(pictures(24), batch_size=12)
model = Autoencoder(
    32, 16, ch=32, out_ch=3, ch_mult=(1, 1, 2), num_res_blocks=1, attn_resolutions=[], in_channels=3,
    resolution=32, z_channels=16, double_z=False,
)  # fmt: skip
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.5, 0.9))
for epoch in range(4):
    model.train()
    for (x,) in train_loader:
        restored, codebook_loss, _ = model(x)
        loss = F.l1_loss(restored, x) + codebook_loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        results = [
            (F.l1_loss(restored, x).item(), used.item()) for (x,) in val_loader for restored, _, used in [model(x)]
        ]
    error, used = (sum(column) / len(results) for column in zip(*results))
    print(f"epoch {epoch}: training {loss.item():.4f} restored within {error:.4f} perplexity {used:.2f}")
