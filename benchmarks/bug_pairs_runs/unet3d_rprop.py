"""Train the small 3D U-Net with the optimizer named in the configuration, and score a validation set each epoch.

fix: 0d3c5c99
depth: live 60
expects: -
where: program
stands in: h5py, skimage
"""

import torch
from stand_ins import stand_in
from torch.utils.data import DataLoader, TensorDataset

for name in ("h5py", "skimage", "skimage.color", "skimage.measure", "skimage.metrics"):
    stand_in(name)

from pytorch3dunet.unet3d.losses import get_loss_criterion
from pytorch3dunet.unet3d.model import get_model
from pytorch3dunet.unet3d.utils import create_lr_scheduler, create_optimizer

config = {
    "device": "cpu",
    "model": {
        "name": "UNet3D", "in_channels": 1, "out_channels": 1, "layer_order": "gcr", "f_maps": 8, "num_groups": 4,
        "num_levels": 2, "final_sigmoid": True, "is_segmentation": True,
    },
    "loss": {"name": "BCEDiceLoss"},
    "optimizer": {"name": "Rprop", "learning_rate": 0.001},
    "lr_scheduler": {"name": "StepLR", "step_size": 4, "gamma": 0.5},
}  # fmt: skip
torch.manual_seed(0)


def make_volumes(count):
    axis = torch.linspace(-1, 1, 16)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    places = torch.rand(count, 3) - 0.5
    distance = sum((a - place[:, None, None, None]) ** 2 for a, place in zip((z, y, x), places.T))
    inside = (distance < 0.2).float()[:, None]
    return inside + 0.5 * torch.randn(count, 1, 16, 16, 16), inside


model = get_model(config["model"])
criterion = get_loss_criterion(config)
optimizer = create_optimizer(config["optimizer"], model)
scheduler = create_lr_scheduler(config["lr_scheduler"], optimizer)
training = DataLoader(TensorDataset(*make_volumes(24)), batch_size=8, shuffle=True)
validation = DataLoader(TensorDataset(*make_volumes(8)), batch_size=4)

for epoch in range(6):
    model.train()
    for volumes, masks in training:
        result = model(volumes)
        logits = result[1] if isinstance(result, tuple) else result
        loss = criterion(logits, masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scheduler.step()
    model.eval()
    overlap = total = 0.0
    with torch.no_grad():
        for volumes, masks in validation:
            found = (model(volumes) > 0.5).float()
            overlap += (found * masks).sum().item()
            total += (found + masks).sum().item()
    print(f"epoch {epoch}: loss {loss.item():.3f} dice {2 * overlap / total:.3f}")
