"""Train GaNDLF's light U-Net to segment invented two-dimensional scans, and validate after each epoch.

fix: d9f99cc7
depth: live 60
expects: TW303
where: GANDLF/models/light_unet_multilayer.py
stands in: GaNDLF's utils (its function get_linear_interpolation_mode is written out)
"""

from stand_ins import load, package

load("GANDLF/utils/generic.py")
package("GANDLF.utils").get_linear_interpolation_mode = {2: "bilinear", 3: "trilinear"}.get
light_unet_multilayer = load("GANDLF/models/light_unet_multilayer.py").light_unet_multilayer
segmentation = load("GANDLF/losses/segmentation.py")

import torch
from torch.utils.data import DataLoader, TensorDataset


def make_scans(count):
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    centers, radii = torch.randint(8, 24, (count, 2, 1, 1)), torch.randint(4, 9, (count, 1, 1))
    inside = ((rows - centers[:, 0]) ** 2 + (columns - centers[:, 1]) ** 2 < radii**2).float()
    return TensorDataset(inside[:, None] + torch.randn(count, 1, 32, 32) * 0.7, torch.stack([1 - inside, inside], 1))


torch.manual_seed(0)
parameters = {
    "model": {
        "architecture": "light_unet_multilayer", "dimension": 2, "num_channels": 1, "class_list": [0, 1], "depth": 3,
        "base_filters": 8, "norm_type": "batch", "amp": False, "final_layer": "sigmoid",
    },
    "patch_size": [32, 32, 1], "batch_size": 8, "weights": None,
}  # fmt: skip
model = light_unet_multilayer(parameters)
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
training = DataLoader(make_scans(64), batch_size=8, shuffle=True)
validation = DataLoader(make_scans(24), batch_size=8)
for epoch in range(3):
    model.train()
    for scans, masks in training:
        optimizer.zero_grad()
        loss = segmentation.MCD_loss(model(scans), masks, parameters)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        losses = [segmentation.MCD_loss(model(scans), masks, parameters).item() for scans, masks in validation]
    print(f"epoch {epoch}: training {loss.item():.3f} validation {sum(losses) / len(losses):.3f}")
