"""DDP without torchrun: one process per GPU is spawned on each node. Style of the older ImageNet script.

one node:   python mp_spawn_ddp.py
two nodes:  python mp_spawn_ddp.py --nodes 2 --node-rank 0 --dist-url tcp://10.0.0.1:23456   (1 on the other one)
"""

import argparse
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn as nn
import torch.nn.functional as F
import torch.utils.data

parser = argparse.ArgumentParser(description="residual network on made-up pictures")
parser.add_argument("--nodes", default=1, type=int)
parser.add_argument("--node-rank", default=0, type=int)
parser.add_argument("--procs", default=0, type=int, help="processes per node (0: one per GPU, or 2 on a CPU)")
parser.add_argument("--dist-url", default="tcp://localhost:23456", type=str)
parser.add_argument("-b", "--batch-size", default=256, type=int, help="mini-batch of one node, shared by its GPUs")
parser.add_argument("--width", default=64, type=int)
parser.add_argument("--side", default=128, type=int)
parser.add_argument("--images", default=65_536, type=int)
parser.add_argument("--epochs", default=1, type=int)
parser.add_argument("--lr", default=0.1, type=float)
parser.add_argument("-j", "--workers", default=0, type=int)
parser.add_argument("-p", "--print-freq", default=10, type=int)


class Pictures(torch.utils.data.Dataset):
    def __init__(self, count, side):
        self.count, self.side = count, side

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        label = i % 100
        g = torch.Generator().manual_seed(i)
        return torch.randn(3, self.side, self.side, generator=g) + label / 50 - 1, label


def conv_bn(inputs, outputs, stride=1):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.body = nn.Sequential(conv_bn(inputs, outputs, stride), nn.ReLU(inplace=True), conv_bn(outputs, outputs))
        same = inputs == outputs and stride == 1
        self.skip = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x):
        return F.relu(self.body(x) + self.skip(x))


def network(width):
    layers = [conv_bn(3, width, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    before = width
    for i, outputs in enumerate([width, 2 * width, 4 * width, 8 * width]):
        layers += [BasicBlock(before, outputs, 1 if i == 0 else 2), BasicBlock(outputs, outputs, 1)]
        before = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 100))


class AverageMeter:
    def __init__(self, name):
        self.name, self.sum, self.count = name, 0.0, 0

    def update(self, value, n=1):
        self.sum += value * n
        self.count += n

    def all_reduce(self, device):
        total = torch.tensor([self.sum, self.count], dtype=torch.float32, device=device)
        dist.all_reduce(total, dist.ReduceOp.SUM)
        self.sum, self.count = total.tolist()

    def __str__(self):
        return f"{self.name} {self.sum / max(self.count, 1):.4f}"


def main():
    args = parser.parse_args()
    procs = args.procs or torch.cuda.device_count() or 2
    mp.spawn(main_worker, nprocs=procs, args=(procs, args))


def main_worker(gpu, procs, args):
    rank, world_size = args.node_rank * procs + gpu, args.nodes * procs
    cuda = torch.cuda.is_available()
    dist.init_process_group(
        backend="nccl" if cuda else "gloo", init_method=args.dist_url, world_size=world_size, rank=rank
    )
    device = torch.device("cuda", gpu) if cuda else torch.device("cpu")
    model = network(args.width)
    if cuda:
        torch.cuda.set_device(gpu)
        torch.backends.cudnn.benchmark = True
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model).cuda(gpu)
        model = nn.parallel.DistributedDataParallel(model, device_ids=[gpu])
    else:
        model = nn.parallel.DistributedDataParallel(model)
    batch_size = args.batch_size // procs

    criterion = nn.CrossEntropyLoss().to(device)
    optimizer = torch.optim.SGD(model.parameters(), args.lr, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=30, gamma=0.1)

    train_set, val_set = Pictures(args.images, args.side), Pictures(max(args.images // 16, world_size), args.side)
    train_sampler = torch.utils.data.distributed.DistributedSampler(train_set)
    val_sampler = torch.utils.data.distributed.DistributedSampler(val_set, shuffle=False, drop_last=True)
    train_loader = torch.utils.data.DataLoader(
        train_set, batch_size, sampler=train_sampler, num_workers=args.workers, pin_memory=cuda
    )
    val_loader = torch.utils.data.DataLoader(val_set, batch_size, sampler=val_sampler, num_workers=args.workers)

    for epoch in range(args.epochs):
        train_sampler.set_epoch(epoch)
        train(train_loader, model, criterion, optimizer, epoch, device, args, rank)
        validate(val_loader, model, criterion, device, rank)
        scheduler.step()
    dist.destroy_process_group()


def train(loader, model, criterion, optimizer, epoch, device, args, rank):
    losses, start = AverageMeter("loss"), time.time()
    model.train()
    for i, (images, target) in enumerate(loader):
        images, target = images.to(device, non_blocking=True), target.to(device, non_blocking=True)
        loss = criterion(model(images), target)
        losses.update(loss.item(), images.size(0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if i % args.print_freq == 0 and rank == 0:
            print(f"epoch [{epoch}][{i}/{len(loader)}] {losses} time {time.time() - start:.2f}s")


def validate(loader, model, criterion, device, rank):
    losses, top1 = AverageMeter("validation loss"), AverageMeter("top-1")
    model.eval()
    with torch.no_grad():
        for images, target in loader:
            images, target = images.to(device), target.to(device)
            output = model(images)
            losses.update(criterion(output, target).item(), images.size(0))
            top1.update((output.argmax(1) == target).float().mean().item(), images.size(0))
    losses.all_reduce(device)
    top1.all_reduce(device)
    if rank == 0:
        print(losses, top1)


if __name__ == "__main__":
    main()
