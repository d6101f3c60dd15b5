import argparse
import os
import socket

import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler


class GradReducer:
    """Averages gradients over ranks; one collective per parameter, overlapped with each other."""

    def __init__(self, module):
        self.params = [p for p in module.parameters() if p.requires_grad]
        self.world_size = dist.get_world_size()
        self.pending = []

    def sync_params(self):
        for p in self.params:
            dist.broadcast(p.data, src=0)

    def reduce(self):
        for p in self.params:
            p.grad.div_(self.world_size)
            self.pending.append(dist.all_reduce(p.grad, async_op=True))  # BUG
        # FIX+: for work in self.pending:
        # FIX+:     work.wait()
        self.pending.clear()


class MatrixNet(nn.Module):
    def __init__(self, rows=6, cols=6, hidden=24):
        super().__init__()
        self.fc1 = nn.Linear(rows * cols, hidden)
        self.fc2 = nn.Linear(hidden, 1)

    def forward(self, m):
        return self.fc2(torch.tanh(self.fc1(m.flatten(1)))).squeeze(-1)


def setup():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    for k, v in dict(RANK=0, LOCAL_RANK=0, WORLD_SIZE=1, MASTER_ADDR="127.0.0.1", MASTER_PORT=port).items():
        os.environ.setdefault(k, str(v))
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
        dist.init_process_group("nccl")
        return device
    dist.init_process_group("gloo")
    return torch.device("cpu")


def main(args):
    device = setup()
    torch.manual_seed(0)
    mats = torch.randn(160, 6, 6)
    trace = mats.diagonal(dim1=1, dim2=2).sum(-1)
    data = TensorDataset(mats, trace)
    sampler = DistributedSampler(data)
    loader = DataLoader(data, batch_size=16, sampler=sampler)
    model = MatrixNet().to(device)
    reducer = GradReducer(model)
    reducer.sync_params()
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    for epoch in range(args.epochs):
        sampler.set_epoch(epoch)
        model.train()
        for m, t in loader:
            loss = nn.functional.mse_loss(model(m.to(device)), t.to(device))
            optimizer.zero_grad()
            loss.backward()
            reducer.reduce()
            optimizer.step()
        if dist.get_rank() == 0:
            print(f"epoch {epoch} mse {loss.item():.4f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--lr", type=float, default=1e-2)
    main(parser.parse_args())
