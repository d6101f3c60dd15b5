"""Train the project's small detector with its trainer, in a process group, on a subclass of its CIFAR-10 module.

fix: 8a6b7202
depth: live 60
expects: TW402
where: openpifpaf/network/trainer.py
stands in: torchvision's transforms, pysparkling, pythonjsonlogger, the compiled module and numpy's old names
"""

import logging
import sys
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image, ImageOps
from stand_ins import stand_in
from torch import distributed


def normalize(mean, std):
    return lambda image: (image - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


stand_in(
    "torchvision.transforms",
    ToTensor=lambda: lambda image: torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255,
    Normalize=normalize,
    functional=SimpleNamespace(pad=lambda image, border, fill: ImageOps.expand(image, border, fill)),
)
stand_in("torchvision.models")
stand_in("pysparkling")
stand_in("pythonjsonlogger", jsonlogger=SimpleNamespace(JsonFormatter=lambda text: logging.Formatter()))
sys.modules["openpifpaf.functional"] = stand_in("functional")
np.int, np.float = int, float
from openpifpaf import datasets, network, optimize, train
from openpifpaf.plugins.cifar10.datamodule import Cifar10


class Pictures(torch.utils.data.Dataset):
    def __init__(self, size):
        self.pixels = np.random.randint(0, 255, (size, 32, 32, 3), np.uint8)
        self.labels = np.random.randint(0, 10, size).tolist()

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return Image.fromarray(self.pixels[index]), self.labels[index]


class Module(Cifar10):
    def train_loader(self):
        data = datasets.TorchDataset(Pictures(42), preprocess=self._preprocess())
        return self.target_dataloader(data, shuffle=True)

    def val_loader(self):
        return self.target_dataloader(datasets.TorchDataset(Pictures(18), preprocess=self._preprocess()))


options = "--dataset=cifar10 --basenet=cifar10net --batch-size=4 --epochs=3 --lr=0.001 --loader-workers=0"
sys.argv = ["train", *options.split(), "--output", "model.pkl"]
args = train.cli()
distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
module = Module()
net, start_epoch = network.Factory().factory(head_metas=module.head_metas)
loss = network.losses.Factory().factory(net.head_nets)
net = torch.nn.parallel.DistributedDataParallel(net)
train_loader, val_loader = module.train_loader(), module.val_loader()
optimizer = optimize.factory_optimizer(args, [*net.parameters(), *loss.parameters()])
scheduler = optimize.factory_lrscheduler(args, optimizer, len(train_loader))
trainer = network.Trainer(net, loss, optimizer, args.output, lr_scheduler=scheduler, device=args.device)
trainer.loop(train_loader, val_loader, start_epoch=start_epoch)
distributed.destroy_process_group()
