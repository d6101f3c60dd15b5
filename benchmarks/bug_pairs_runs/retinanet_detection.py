"""Train the detector on a list file of pictures with boxes, and validate it after each epoch, as train.py does.

fix: a6fbdc09
depth: live 60
expects: TW555
where: datagen.py
stands in: torchvision (imported only), CUDA (stays on the CPU), indexing a loss by 0, the size of the terminal
"""

import io
import os
import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from stand_ins import stand_in

get_item = torch.Tensor.__getitem__
torch.Tensor.__getitem__ = lambda self, index: self if self.dim() == 0 else get_item(self, index)
torch.Tensor.cuda = lambda self: self
os.popen = lambda *args: io.StringIO("24 80")


stand_in("torchvision.transforms")

from datagen import ListDataset
from loss import FocalLoss
from retinanet import RetinaNet

random.seed(0)
torch.manual_seed(0)
folder = Path("pictures")
folder.mkdir(exist_ok=True)


def write_list(name, count):
    lines = []
    for i in range(count):
        width, height = random.randint(110, 160), random.randint(100, 150)
        pixels = np.random.randint(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}{i}.png")
        line = f"{name}{i}.png"
        for _ in range(random.randint(1, 3)):
            left, top = random.randint(5, 40), random.randint(5, 40)
            right, bottom = left + random.randint(30, 60), top + random.randint(30, 55)
            line += f" {left} {top} {right} {bottom} {random.randrange(20)}"
        lines.append(line)
    path = folder / f"{name}.txt"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def transform(image):
    image = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    return (image - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / 0.225


trainset = ListDataset(str(folder), write_list("train", 11), train=True, transform=transform, input_size=96)
trainloader = torch.utils.data.DataLoader(trainset, batch_size=4, shuffle=True, collate_fn=trainset.collate_fn)
testset = ListDataset(str(folder), write_list("val", 5), train=False, transform=transform, input_size=96)
testloader = torch.utils.data.DataLoader(testset, batch_size=4, shuffle=False, collate_fn=testset.collate_fn)

net = RetinaNet()
criterion = FocalLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4)
for epoch in range(3):
    net.train()
    net.freeze_bn()
    for inputs, loc_targets, cls_targets in trainloader:
        optimizer.zero_grad()
        loc_preds, cls_preds = net(inputs)
        loss = criterion(loc_preds, loc_targets, cls_preds, cls_targets)
        loss.backward()
        optimizer.step()
        print(f"train_loss: {loss.item():.3f}")
    net.eval()
    with torch.no_grad():
        for inputs, loc_targets, cls_targets in testloader:
            loc_preds, cls_preds = net(inputs)
            print(f"test_loss: {criterion(loc_preds, loc_targets, cls_preds, cls_targets).item():.3f}")
