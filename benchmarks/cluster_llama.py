"""Train a Llama-3-405B-shaped model with FSDP2 and tensor parallelism of 8, as a user would write it.

Sizes are those of Llama 3 405B (Llama Team 2024, table 3), sequence 8192, one sequence a data-parallel rank,
bfloat16 with float32 master weights, AdamW, full activation checkpointing. Run by ``benchmarks.cluster``.
"""

from __future__ import annotations

import argparse
import os

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed._composable import checkpoint
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    PrepareModuleInput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)
from torch.nn import functional as F


class Attention(nn.Module):
    """Grouped-query attention."""

    def __init__(self, dim: int, heads: int, kv_heads: int) -> None:
        super().__init__()
        self.head_dim = dim // heads
        self.q = nn.Linear(dim, dim, bias=False)
        self.k = nn.Linear(dim, kv_heads * self.head_dim, bias=False)
        self.v = nn.Linear(dim, kv_heads * self.head_dim, bias=False)
        self.o = nn.Linear(dim, dim, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend causally."""
        q, k, v = (w(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for w in (self.q, self.k, self.v))
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        out: torch.Tensor = self.o(attended.transpose(1, 2).flatten(2))
        return out


class FeedForward(nn.Module):
    """A gated feed-forward network."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(dim, hidden, bias=False), nn.Linear(dim, hidden, bias=False)
        self.down = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply SwiGLU."""
        out: torch.Tensor = self.down(F.silu(self.gate(x)) * self.up(x))
        return out


class Block(nn.Module):
    """One layer."""

    def __init__(self, dim: int, hidden: int, heads: int, kv_heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(dim), nn.RMSNorm(dim)
        self.attention, self.mlp = Attention(dim, heads, kv_heads), FeedForward(dim, hidden)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend, then feed forward."""
        x = x + self.attention(self.norm1(x))
        out: torch.Tensor = x + self.mlp(self.norm2(x))
        return out


class Llama(nn.Module):
    """Embedding, layers, norm, head."""

    def __init__(self, layers: int, dim: int, hidden: int, heads: int, kv_heads: int, vocabulary: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, dim)
        self.layers = nn.ModuleList(Block(dim, hidden, heads, kv_heads) for _ in range(layers))
        self.norm = nn.RMSNorm(dim)
        self.head = nn.Linear(dim, vocabulary, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        x = self.words(tokens)
        for layer in self.layers:
            x = layer(x)
        out: torch.Tensor = self.head(self.norm(x))
        return out


def parallelize(model: Llama, mesh: dist.device_mesh.DeviceMesh) -> None:
    """Tensor and sequence parallel over ``tp``, fully sharded over ``dp``."""
    tp, whole = mesh["tp"], (Replicate(),)
    parallelize_module(model, tp, {
        "words": RowwiseParallel(input_layouts=Replicate(), output_layouts=Shard(1)),
        "norm": SequenceParallel(),
        "head": ColwiseParallel(input_layouts=Shard(1), output_layouts=Replicate()),
    })  # fmt: skip
    plan = {
        "norm1": SequenceParallel(), "norm2": SequenceParallel(),
        "attention": PrepareModuleInput(input_layouts=(Shard(1),), desired_input_layouts=whole),
        "mlp": PrepareModuleInput(input_layouts=(Shard(1),), desired_input_layouts=whole),
        **{f"attention.{name}": ColwiseParallel() for name in ("q", "k", "v")},
        "attention.o": RowwiseParallel(output_layouts=Shard(1)),
        "mlp.gate": ColwiseParallel(), "mlp.up": ColwiseParallel(),
        "mlp.down": RowwiseParallel(output_layouts=Shard(1)),
    }  # fmt: skip
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for layer in model.layers:
        parallelize_module(layer, tp, plan)
        checkpoint(layer)
        fully_shard(layer, mesh=mesh["dp"], mp_policy=policy)
    fully_shard(model, mesh=mesh["dp"], mp_policy=policy)


def main() -> None:
    """Train for a few steps."""
    parser = argparse.ArgumentParser()
    for name, value in {"layers": 126, "dim": 16384, "hidden": 53248, "heads": 128, "kv-heads": 8,
                        "vocabulary": 128256, "sequence": 8192, "tp": 8, "steps": 2}.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value)
    o = parser.parse_args()
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    mesh = init_device_mesh("cuda", (int(os.environ["WORLD_SIZE"]) // o.tp, o.tp), mesh_dim_names=("dp", "tp"))
    with torch.device("meta"):
        model = Llama(o.layers, o.dim, o.hidden, o.heads, o.kv_heads, o.vocabulary)
    parallelize(model, mesh)
    model.to_empty(device="cuda")
    optimizer = torch.optim.AdamW(model.parameters(), lr=8e-5)
    for _ in range(o.steps):
        tokens = torch.randint(o.vocabulary, (1, o.sequence), device="cuda")
        loss = F.cross_entropy(model(tokens).flatten(0, 1).float(), tokens.flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


if __name__ == "__main__":
    main()
