"""Gossip SGD: every worker trains on its own shard and mixes weights with its ring neighbours."""
import os

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

for k, v in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29703"}.items():
    os.environ.setdefault(k, v)


def exchange(vec: Tensor) -> Tensor:
    """Sends to the right neighbour, returns what came from the left one."""
    rank, world = dist.get_rank(), dist.get_world_size()
    incoming = torch.empty_like(vec)
    ops = [
        dist.P2POp(dist.isend, vec, (rank + 1) % world),
        dist.P2POp(dist.irecv, incoming, (rank - 1) % world),
    ]
    reqs = dist.batch_isend_irecv(ops)  # BUG
    # FIX: reqs = dist.batch_isend_irecv(ops)
    # FIX: for req in reqs:
    # FIX:     req.wait()
    return incoming


@torch.no_grad()
def mix(model: nn.Module) -> None:
    mine = parameters_to_vector(model.parameters())
    if dist.get_world_size() > 1:
        mine = 0.5 * (mine + exchange(mine))
    vector_to_parameters(mine, model.parameters())


def shard(rank: int) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(50 + rank)
    x = torch.rand(128, 2, generator=g) * 4 - 2
    return x, (x.pow(2).sum(1) < 2).long()


def main() -> None:
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))
    opt = torch.optim.SGD(model.parameters(), lr=0.2)
    x, y = shard(dist.get_rank())
    model.train()
    for rnd in range(6):
        for xb, yb in zip(x.split(32), y.split(32)):
            opt.zero_grad()
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            opt.step()
        mix(model)
        loss_sum = loss.detach().clone()
        dist.all_reduce(loss_sum)
        if dist.get_rank() == 0:
            print(f"round {rnd} loss {loss_sum.item() / dist.get_world_size():.4f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
