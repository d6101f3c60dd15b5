"""Train the U-Net and validate it in the middle of the epoch, as the project's train.py does.

fix: 773ef215
depth: live 10
expects: TW313
where: eval.py, program
"""

import torch
from eval import eval_net
from torch import nn, optim
from torch.utils.data import DataLoader, Dataset
from unet import UNet


class Pictures(Dataset):
    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return {"image": torch.rand(3, 32, 32), "mask": (torch.rand(1, 32, 32) > 0.5).float()}


device = torch.device("cpu")
net = UNet(n_channels=3, n_classes=1, bilinear=True)
optimizer = optim.RMSprop(net.parameters(), lr=1e-4, weight_decay=1e-8, momentum=0.9)
criterion = nn.BCEWithLogitsLoss()
step = 0
for _ in range(2):
    net.train()
    for batch in DataLoader(Pictures(12), batch_size=2, shuffle=True):
        loss = criterion(net(batch["image"]), batch["mask"])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(net.parameters(), 0.1)
        optimizer.step()
        step += 1
        if step % 3 == 0:
            eval_net(net, DataLoader(Pictures(4), batch_size=2), device)
