"""A GPT cut into pipeline stages by hand; the schedule is an argument.

torchrun --standalone --nproc-per-node 2 pipeline.py --schedule 1F1B
torchrun --standalone --nproc-per-node 2 pipeline.py --schedule Interleaved1F1B --stages-per-rank 2

With more ranks than --pp there are several pipelines, whose gradients are averaged.
"""

import argparse
import os

import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.pipelining import PipelineStage
from torch.distributed.pipelining.schedules import PipelineScheduleSingle, get_schedule_class

V_SHAPED = {"ZBVZeroBubble", "DualPipeV"}
SCHEDULES = ["GPipe", "1F1B", "Interleaved1F1B", "LoopedBFS", "InterleavedZeroBubble", *sorted(V_SHAPED)]


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class StageModule(nn.Module):
    """Layers ``first`` to ``last``; the embedding is the first stage's, the output layer the last one's."""

    def __init__(self, args, index: int, num_stages: int):
        super().__init__()
        first, last = args.layers * index // num_stages, args.layers * (index + 1) // num_stages
        self.embed = nn.Embedding(args.vocabulary, args.width) if index == 0 else None
        self.position = nn.Embedding(args.length, args.width) if index == 0 else None
        self.blocks = nn.ModuleList(Block(args.width, args.heads) for _ in range(first, last))
        is_last = index == num_stages - 1
        self.norm = nn.LayerNorm(args.width) if is_last else None
        self.head = nn.Linear(args.width, args.vocabulary, bias=False) if is_last else None

    def forward(self, x):
        if self.embed is not None:
            x = self.embed(x) + self.position(torch.arange(x.shape[1], device=x.device))
        for block in self.blocks:
            x = block(x)
        return x if self.head is None else self.head(self.norm(x))


def stage_indices(schedule: str, rank: int, pp: int, per_rank: int) -> list[int]:
    """Loop: rank, rank + pp, ...; V: down and up again, so that rank 0 holds the first and the last stage."""
    if schedule in V_SHAPED:
        return [rank, 2 * pp - 1 - rank]
    return [rank + pp * i for i in range(per_rank)]


def loss_fn(logits, labels):
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--schedule", default="1F1B", choices=SCHEDULES)
    parser.add_argument("--pp", type=int, default=0, help="ranks in one pipeline (0: up to 8)")
    parser.add_argument("--stages-per-rank", type=int, default=0, help="0: 1, or 2 where the schedule needs several")
    parser.add_argument("--microbatches", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=16, help="sequences per pipeline and step")
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--heads", type=int, default=16)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--vocabulary", type=int, default=50_257)
    parser.add_argument("--steps", type=int, default=10)
    args = parser.parse_args()

    world_size, local_rank = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_RANK"])
    device = torch.device(f"cuda:{local_rank}" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    pp = args.pp or min(world_size, 8)
    mesh = init_device_mesh(device.type, (world_size // pp, pp), mesh_dim_names=("dp", "pp"))
    dp_rank, pp_rank = mesh.get_local_rank("dp"), mesh.get_local_rank("pp")

    schedule_class = get_schedule_class(args.schedule)
    single = issubclass(schedule_class, PipelineScheduleSingle)
    per_rank = args.stages_per_rank or (1 if single else 2)
    num_stages = pp * per_rank
    indices = stage_indices(args.schedule, pp_rank, pp, per_rank)
    torch.manual_seed(0)
    modules = [StageModule(args, i, num_stages).to(device) for i in indices]
    stages = [
        PipelineStage(module, i, num_stages, device, group=mesh.get_group("pp")) for module, i in zip(modules, indices)
    ]
    schedule = schedule_class(stages[0] if single else stages, n_microbatches=args.microbatches, loss_fn=loss_fn)
    has_first, has_last = 0 in indices, num_stages - 1 in indices
    parameters = [p for module in modules for p in module.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=2e-4)

    # All ranks of a pipeline draw the same batch; only the first and the last stage use it.
    generator = torch.Generator().manual_seed(dp_rank)
    for step in range(args.steps):
        tokens = torch.randint(args.vocabulary, (args.batch_size, args.length + 1), generator=generator)
        inputs, labels = tokens[:, :-1].to(device), tokens[:, 1:].to(device)
        losses = []
        schedule.step(*([inputs] if has_first else []), **({"target": labels, "losses": losses} if has_last else {}))
        if mesh.size(0) > 1:
            for p in parameters:
                dist.all_reduce(p.grad, group=mesh.get_group("dp"))
                p.grad /= mesh.size(0)
        optimizer.step()
        optimizer.zero_grad()
        if has_last and dp_rank == 0:
            print(f"{args.schedule} step {step} loss {torch.stack(losses).mean().item():.4f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
