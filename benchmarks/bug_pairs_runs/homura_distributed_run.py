"""Train a classifier on random pictures with the project's trainer, for a number of iterations, in a process group.

fix: eb2c4046
depth: live 60
expects: TW402
where: homura/trainers.py
stands in: torchvision (saving pictures)
"""

import tempfile

import torch
from stand_ins import stand_in
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

for name in ("torchvision.utils", "torchvision.transforms.functional"):
    stand_in(name)

from homura import callbacks, reporters
from homura.trainers import SupervisedTrainer


def pictures(count):
    labels = torch.randint(0, 5, (count,))
    return TensorDataset(torch.randn(count, 3, 16, 16) + labels.view(-1, 1, 1, 1) / 2, labels)


def main():
    torch.manual_seed(0)
    init = "file://" + tempfile.mktemp()
    torch.distributed.init_process_group("gloo", init_method=init, rank=0, world_size=1)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    )
    model = nn.parallel.DistributedDataParallel(net)
    train_set, val_set = pictures(150), pictures(40)
    train_loader = DataLoader(train_set, batch_size=16, sampler=DistributedSampler(train_set))
    val_loader = DataLoader(val_set, batch_size=16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    reported = [callbacks.AccuracyCallback(), callbacks.LossCallback(), reporters.IOReporter("results")]
    with SupervisedTrainer(model, optimizer, F.cross_entropy, callbacks=reported) as trainer:
        trainer.run(train_loader, val_loader, total_iterations=40, val_intervals=len(train_loader))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
