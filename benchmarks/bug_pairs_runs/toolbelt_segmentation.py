"""Set the seed with the project's function, then train a small segmentation network with the project's loss.

The pictures are augmented with NumPy.

fix: 7bdbffd3
depth: live 60
expects: TW665
where: pytorch_toolbelt/utils/random.py
stands in: cv2 and torchvision (imported only)
"""

import numpy as np
import torch
from stand_ins import stand_in
from torch import nn
from torch.utils.data import DataLoader, Dataset

stand_in("cv2")
stand_in("torchvision.ops")

from pytorch_toolbelt.losses import BinaryFocalLoss, DiceLoss, JointLoss
from pytorch_toolbelt.utils import image_to_tensor, set_manual_seed, to_numpy


class Discs(Dataset):
    def __init__(self, count, augment):
        self.augment = augment
        random = np.random.RandomState(count)
        y, x = np.mgrid[:32, :32]
        self.masks, self.images = [], []
        for _ in range(count):
            cy, cx, radius = random.randint(8, 24), random.randint(8, 24), random.randint(4, 9)
            mask = (y - cy) ** 2 + (x - cx) ** 2 < radius**2
            self.masks.append(mask.astype(np.float32))
            self.images.append((random.rand(32, 32, 3) + mask[..., None]).astype(np.float32))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image, mask = self.images[index], self.masks[index]
        if self.augment:
            if np.random.rand() < 0.5:
                image, mask = image[:, ::-1], mask[:, ::-1]
            turns = np.random.randint(4)
            image, mask = np.rot90(image, turns), np.rot90(mask, turns)
            image = image * np.random.uniform(0.8, 1.2) + np.random.normal(0, 0.1, image.shape)
        image = image_to_tensor(np.ascontiguousarray(image, dtype=np.float32))
        return image, torch.from_numpy(mask.copy())[None]


def main():
    set_manual_seed(42)
    train_loader = DataLoader(Discs(44, augment=True), batch_size=8, shuffle=True)
    valid_loader = DataLoader(Discs(13, augment=False), batch_size=8)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 1, 1),
    )  # fmt: skip
    criterion = JointLoss(BinaryFocalLoss(), DiceLoss(mode="binary"), 1.0, 0.5)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for epoch in range(3):
        net.train()
        for image, mask in train_loader:
            optimizer.zero_grad()
            loss = criterion(net(image), mask)
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            losses = [to_numpy(criterion(net(image), mask)) for image, mask in valid_loader]
        print(epoch, loss.item(), np.mean(losses))


if __name__ == "__main__":
    main()
