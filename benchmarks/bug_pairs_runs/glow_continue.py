"""Train the Glow flow on small pictures, save it, and continue the training from the saved file, validating each epoch.

fix: f3321214
depth: live 60
expects: -
where: program
stands in: torchvision
"""

import tempfile

import numpy
import torch
from stand_ins import stand_in
from torch.utils.data import DataLoader

stand_in("torchvision")

from model import Glow

from train import calc_loss, calc_z_shapes

SIZE, BINS = 16, 32.0
numpy.random.seed(0)
torch.manual_seed(0)


def make_pictures(count):
    base = torch.rand(count, 3, 4, 4)
    pictures = torch.nn.functional.interpolate(base, size=SIZE, mode="bilinear", align_corners=False)
    pictures = pictures + 0.05 * torch.randn(count, 3, SIZE, SIZE)
    return torch.floor(pictures.clamp(0, 1) * (BINS - 1)) / BINS - 0.5


def build():
    model = Glow(3, 4, 2, affine=True, conv_lu=True)
    return model, torch.optim.Adam(model.parameters(), lr=1e-3)


def bits(model, pictures):
    log_p, logdet = model(pictures + torch.rand_like(pictures) / BINS)
    return calc_loss(log_p, logdet, SIZE, BINS)[0]


def run(model, optimizer, epochs):
    for epoch in epochs:
        model.train()
        for pictures in training:
            loss = bits(model, pictures)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            losses = [(bits(model, pictures).item(), len(pictures)) for pictures in validation]
        mean = sum(value * count for value, count in losses) / sum(count for _, count in losses)
        print(f"epoch {epoch}: training {loss.item():.3f} validation {mean:.3f}")


training = DataLoader(make_pictures(96), batch_size=16, shuffle=True)
validation = DataLoader(make_pictures(32), batch_size=16)

model, optimizer = build()
run(model, optimizer, range(3))
with tempfile.NamedTemporaryFile(suffix=".pt") as file:
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file.name)
    saved = torch.load(file.name)

model, optimizer = build()
model.load_state_dict(saved["model"])
optimizer.load_state_dict(saved["optimizer"])
run(model, optimizer, range(3, 6))

model.eval()
with torch.no_grad():
    shapes = calc_z_shapes(3, SIZE, 4, 2)
    samples = model.reverse([torch.randn(4, *shape) * 0.7 for shape in shapes])
print("samples", tuple(samples.shape), f"{samples.mean().item():.3f}")
