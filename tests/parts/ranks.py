"""What each rank of a real gloo group does in the tests of the parts; importable, as its processes want it."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks

from trainworthy.parts.accumulation import accumulate
from trainworthy.parts.data.gather import gather_uneven
from trainworthy.parts.data.order import ReshufflingSampler
from trainworthy.parts.losses.cross_entropy import cross_entropy, target_weight


def uneven(rank: int) -> list[Tensor]:
    """Return what a rank holds: other sizes, other numbers of dimensions, nothing at all; each kind of number."""
    generator = torch.Generator().manual_seed(rank)
    return [
        torch.randn(rank, 3, generator=generator),
        torch.randn([2] * rank, generator=generator).bfloat16(),
        torch.arange(5 - 2 * rank),
        torch.tensor([True, False, True])[rank:],
        torch.tensor(1.5 * rank, dtype=torch.float64),
        torch.randn(4, 2 + rank, generator=generator).T,
    ]


def gather_all() -> tuple[list[list[Tensor]], list[int]]:
    """Gather what :func:`uneven` says; also what a sampler of the group gives."""
    dist.init_process_group("gloo")
    mine = uneven(dist.get_rank())
    sampler = ReshufflingSampler(range(10), shuffle=False)
    return [gather_uneven(tensor) for tensor in mine], list(sampler)


def token_model() -> nn.Module:
    """Return a small model of tokens, the same each time."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(7, 5), nn.Linear(5, 7))


def token_batch() -> tuple[Tensor, Tensor]:
    """Return 12 sequences with 1 to 9 targets that count: few in the first, many in the last."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(7, (12, 9), generator=generator)
    targets = torch.randint(7, (12, 9), generator=generator)
    lengths = torch.tensor([1, 1, 1, 1, 2, 9, 3, 9, 5, 9, 9, 9])
    return tokens, targets.where(torch.arange(9) < lengths[:, None], -100)


def accumulate_share() -> tuple[Tensor, float, int]:
    """Take a rank's uneven share of the batch in two micro-batches; return gradient, mean loss, exchanges."""
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    tokens, targets = token_batch()
    bounds = {2: [0, 3, 12], 3: [0, 2, 5, 12]}[ranks]
    mine = slice(bounds[rank], bounds[rank + 1])
    sizes = [1, bounds[rank + 1] - bounds[rank] - 1]
    parts = list(zip(tokens[mine].split(sizes), targets[mine].split(sizes), strict=True))
    model = nn.parallel.DistributedDataParallel(token_model())
    exchanged = []

    def count(group: Any, bucket: Any) -> Any:
        exchanged.append(1)
        return default_hooks.allreduce_hook(group, bucket)

    count.__annotations__.clear()  # DDP looks at them, and these are strings
    model.register_comm_hook(dist.group.WORLD, count)
    step = accumulate(
        model, parts, loss=lambda m, batch: cross_entropy(m(batch[0]).transpose(1, 2), batch[1]).total,
        weight=lambda batch: target_weight(batch[1]),
    )  # fmt: skip
    gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    return gradient, step.loss.item(), len(exchanged)
