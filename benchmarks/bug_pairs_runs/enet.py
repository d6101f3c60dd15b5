"""Train the project's ENet on invented street pictures with its own training and test loops.

fix: 858a1aca
depth: live 60
expects: -
where: program
"""

import torch
from metric import IoU
from models.enet import ENet
from test import Test
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

from train import Train

torch.manual_seed(0)
device = torch.device("cpu")
classes = 6


def pictures(count):
    centres = torch.rand(count, 3)
    y, x = torch.meshgrid(torch.linspace(0, 1, 48), torch.linspace(0, 1, 64), indexing="ij")
    labels = (y * 3).long().clamp(max=2).expand(count, -1, -1).clone()
    for index, (a, b, kind) in enumerate(centres):
        inside = (y - a).abs().lt(0.2) & (x - b).abs().lt(0.2)
        labels[index][inside] = 3 + int(kind * 3)
    images = torch.stack([labels / 5.0, (labels % 2).float(), (labels % 3) / 2.0], 1)
    return TensorDataset((images + 0.1 * torch.randn_like(images)).clamp(0, 1), labels)


train_loader = DataLoader(pictures(24), batch_size=4, shuffle=True)
val_loader = DataLoader(pictures(8), batch_size=4)

model = ENet(classes, encoder_relu=False, decoder_relu=True).to(device)
criterion = nn.CrossEntropyLoss()
optimizer = optim.Adam(model.parameters(), lr=5e-4, weight_decay=2e-4)
scheduler = optim.lr_scheduler.StepLR(optimizer, 2, 0.1)
metric = IoU(classes)

train = Train(model, train_loader, optimizer, criterion, metric, device)
val = Test(model, val_loader, criterion, metric, device)
for epoch in range(3):
    loss, (iou, miou) = train.run_epoch()
    print(f"epoch {epoch}: loss {loss:.4f}, mean IoU {miou:.4f}")
    scheduler.step()
    loss, (iou, miou) = val.run_epoch()
    print(f"         validation loss {loss:.4f}, mean IoU {miou:.4f}")
