"""Train a small network to fill in the blanked faces of the project's augmented data set.

fix: 888dd5ab
depth: live 60
expects: -
where: program
stands in: apex, torchvision's conversion and flip of pictures
"""

import numpy as np
import torch
from PIL import Image
from stand_ins import stand_in
from torch import nn
from torch.utils.data import DataLoader

stand_in("apex")
stand_in("apex.amp")
stand_in("torchvision")
stand_in("torchvision.transforms")
stand_in(
    "torchvision.transforms.functional",
    to_pil_image=Image.fromarray,
    hflip=lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
)

from dataloaders_v2 import DeepPrivacyDataset, fast_collate

torch.manual_seed(0)
np.random.seed(0)
size = 32


def faces(count):
    corner = torch.randint(4, 10, (count, 2))
    boxes = torch.cat([corner, corner + torch.randint(12, 18, (count, 2))], 1)
    images = np.random.randint(90, 160, (count, size, size, 3)).astype(np.uint8)
    for image, (x0, y0, x1, y1) in zip(images, boxes.tolist()):
        image[y0:y1, x0:x1] = image[y0:y1, x0:x1] // 2 + np.array([90, 60, 40], dtype=np.uint8)
    places = torch.rand(count, 7, 2) * (boxes[:, None, 2:] - boxes[:, None, :2]) + boxes[:, None, :2]
    return images, boxes, places.view(count, 14).float() / size


class Fill(nn.Module):
    def __init__(self):
        super().__init__()
        self.pose = nn.Linear(14, 8)
        self.body = nn.Sequential(
            nn.Conv2d(11, 24, 5, padding=2), nn.BatchNorm2d(24), nn.ReLU(), nn.Conv2d(24, 24, 5, padding=2),
            nn.BatchNorm2d(24), nn.ReLU(), nn.Conv2d(24, 3, 3, padding=1),
        )  # fmt: skip

    def forward(self, condition, landmarks):
        pose = self.pose(landmarks)[:, :, None, None].expand(-1, -1, size, size)
        return torch.sigmoid(self.body(torch.cat([condition, pose], 1)))


train = DataLoader(
    DeepPrivacyDataset(*faces(64), True), batch_size=8, shuffle=True, drop_last=True, collate_fn=fast_collate
)
test = DataLoader(DeepPrivacyDataset(*faces(16), False), batch_size=8, collate_fn=fast_collate)
model = Fill()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

for epoch in range(4):
    model.train()
    for images, conditions, landmarks in train:
        optimizer.zero_grad()
        loss = nn.functional.l1_loss(model(conditions.float() / 255, landmarks), images.float() / 255)
        loss.backward()
        optimizer.step()
    model.eval()
    total = 0.0
    with torch.no_grad():
        for images, conditions, landmarks in test:
            filled = model(conditions.float() / 255, landmarks)
            total += nn.functional.l1_loss(filled, images.float() / 255).item() * len(images)
    print(f"epoch {epoch}: train {loss.item():.4f}, test {total / len(test.dataset):.4f}")
