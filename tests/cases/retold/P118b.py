"""Old-tutorial style multi-process MNIST look-alike."""
import os
import tempfile

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3)
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(6 * 5 * 5, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv(x)), 2)
        return F.log_softmax(self.fc(self.drop(x.flatten(1))), dim=1)


def average_gradients(model, world_size):
    for p in model.parameters():
        dist.all_reduce(p.grad)
        p.grad /= world_size


def save(model, rank, world_size):
    if world_size > 1:
        dist.barrier()
        if rank != 0:
            return
        print("saved by rank 0 of", wrold_size)  # BUG
        # FIX: print("saved by rank 0 of", world_size)
    with tempfile.NamedTemporaryFile(suffix=".pt") as f:
        torch.save(model.state_dict(), f)


def run(rank, world_size):
    torch.manual_seed(0)
    images = torch.randn(80, 1, 12, 12)
    labels = torch.randint(0, 10, (80,))
    images[torch.arange(80), 0, labels] += 2.0
    images, labels = images[rank::world_size], labels[rank::world_size]
    if world_size > 1:
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", "29655")
        dist.init_process_group("gloo", rank=rank, world_size=world_size)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model.train()
    torch.manual_seed(1 + rank)
    for epoch in range(5):
        epoch_loss = 0.0
        for x, y in zip(images.split(20), labels.split(20)):
            optimizer.zero_grad()
            loss = F.nll_loss(model(x), y)
            loss.backward()
            if world_size > 1:
                average_gradients(model, world_size)
            optimizer.step()
            epoch_loss += loss.item()
        print("rank", rank, "epoch", epoch, "loss", epoch_loss / len(images.split(20)))
    save(model, rank, world_size)
    if world_size > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    size = int(os.environ.get("NUM_PROCS", "1"))
    if size > 1:
        mp.spawn(run, args=(size,), nproc=size)  # BUG
        # FIX: mp.spawn(run, args=(size,), nprocs=size)
    else:
        run(0, size)
