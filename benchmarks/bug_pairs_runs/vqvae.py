"""Train the project's convolutional VQ-VAE on invented pictures.

fix: 7665bb10
depth: live 60
expects: -
where: program
stands in: the old name of an initializer
"""

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

nn.init.constant = nn.init.constant_

from vq_vae.auto_encoder import VQ_CVAE

torch.manual_seed(0)


def pictures(count):
    colours = torch.rand(count, 3, 1, 1) * 2 - 1
    wave = torch.sin(torch.linspace(0, 12, 32) + 6 * torch.rand(count, 1))
    return TensorDataset(torch.tanh(colours * wave[:, None, :, None] + 0.1 * torch.randn(count, 3, 32, 32)))


train = DataLoader(pictures(80), batch_size=16, shuffle=True)
test = DataLoader(pictures(32), batch_size=16)
model = VQ_CVAE(d=16, k=24)
optimizer = optim.Adam(model.parameters(), lr=2e-3)

for epoch in range(3):
    model.train()
    for (x,) in train:
        optimizer.zero_grad()
        outputs = model(x)
        loss = model.loss_function(x, *outputs)
        loss.backward()
        optimizer.step()
    parts = {name: round(value.item(), 4) for name, value in model.latest_losses().items()}
    model.eval()
    total = 0.0
    with torch.no_grad():
        for (x,) in test:
            total += model.loss_function(x, *model(x)).item() * x.size(0)
    print(f"epoch {epoch}: train {loss.item():.4f} {parts}, test {total / len(test.dataset):.4f}")
