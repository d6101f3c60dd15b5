"""Train the project's small ViT with label smoothing on invented pictures, some of them labelled wrongly.

fix: f5c8f122
depth: live 60
expects: -
where: program
stands in: torchvision and torchsummary
"""

from argparse import Namespace

import torch
from stand_ins import stand_in
from torch.utils.data import DataLoader, TensorDataset

stand_in("torchvision")
stand_in("torchvision.transforms")
stand_in("torchsummary")

from utils import get_criterion, get_model

torch.manual_seed(0)
args = Namespace(
    model_name="vit", in_c=3, num_classes=10, size=32, patch=8, dropout=0.1, mlp_hidden=96, num_layers=2, hidden=48,
    head=4, is_cls_token=True, criterion="ce", label_smoothing=True, smoothing=0.1,
)  # fmt: skip
centres = torch.rand(10, 3, 8, 8)


def pictures(count, wrong):
    labels = torch.randint(0, 10, (count,))
    images = torch.nn.functional.interpolate(centres[labels], size=32) + 0.2 * torch.randn(count, 3, 32, 32)
    noisy = torch.where(torch.rand(count) < wrong, torch.randint(0, 10, (count,)), labels)
    return TensorDataset((images - 0.5) / 0.25, noisy)


train = DataLoader(pictures(256, 0.1), batch_size=32, shuffle=True)
test = DataLoader(pictures(96, 0.0), batch_size=32)
model = get_model(args)
criterion = get_criterion(args)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=5e-5)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4, eta_min=1e-5)

for epoch in range(4):
    model.train()
    for image, label in train:
        optimizer.zero_grad()
        loss = criterion(model(image), label)
        loss.backward()
        optimizer.step()
    scheduler.step()
    model.eval()
    right, total = 0, 0.0
    with torch.no_grad():
        for image, label in test:
            out = model(image)
            total += criterion(out, label).item() * len(label)
            right += (out.argmax(-1) == label).sum().item()
    print(f"epoch {epoch}: loss {loss.item():.4f}, test {total / 96:.4f}, accuracy {right / 96:.3f}")
