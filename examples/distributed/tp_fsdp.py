"""Tensor parallelism inside a node, FSDP2 across nodes, activation checkpointing: a 2-D mesh.

    torchrun --standalone --nproc-per-node 4 tp_fsdp.py model.dim=64 model.layers=2 parallel.tp=2

Settings are key=value pairs; see CONFIG for all of them.
"""

import os
import sys
from functools import partial

import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F
from torch.distributed._composable import checkpoint as recompute
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

CONFIG = {
    "model.vocabulary": 50_304,
    "model.length": 2048,
    "model.dim": 8192,
    "model.layers": 48,
    "model.heads": 64,
    "parallel.tp": 0,  # 0: the GPUs of a node
    "parallel.reshard": True,
    "train.batch": 2,  # sequences per data-parallel rank
    "train.steps": 20,
    "train.recompute": True,
    "train.dtype": "bfloat16",
}


def read_config(arguments):
    config = dict(CONFIG)
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key not in config:
            sys.exit(f"unknown setting {key!r}; known: {', '.join(CONFIG)}")
        kind = type(CONFIG[key])
        config[key] = value.lower() in {"1", "true"} if kind is bool else kind(value)
    return config


class Mixer(nn.Module):
    """Causal attention and MLP, computed side by side from one LayerNorm."""

    def __init__(self, dim, heads):
        super().__init__()
        self.head_dim = dim // heads
        self.norm = nn.LayerNorm(dim)
        self.q, self.k, self.v = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.o = nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x):
        y = self.norm(x)
        heads = [w(y).unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for w in (self.q, self.k, self.v)]
        attended = F.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2).flatten(2)
        return x + self.o(attended) + self.down(F.gelu(self.up(y)))


class LanguageModel(nn.Module):
    def __init__(self, vocabulary, length, dim, layers, heads):
        super().__init__()
        self.words = nn.Embedding(vocabulary, dim)
        self.places = nn.Embedding(length, dim)
        self.blocks = nn.Sequential(*(Mixer(dim, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(dim)
        self.logits = nn.Linear(dim, vocabulary, bias=False)

    def forward(self, tokens):
        places = torch.arange(tokens.shape[1], device=tokens.device)
        return self.logits(self.norm(self.blocks(self.words(tokens) + self.places(places))))


def parallelize(model: LanguageModel, mesh: DeviceMesh, config) -> LanguageModel:
    tp = mesh["tp"]
    parallelize_module(
        model,
        tp,
        {
            "words": RowwiseParallel(input_layouts=Replicate()),
            "logits": ColwiseParallel(output_layouts=Replicate()),
        },
    )
    plan = {name: ColwiseParallel() for name in ("q", "k", "v", "up")}
    plan |= {name: RowwiseParallel() for name in ("o", "down")}
    half = getattr(torch, config["train.dtype"])
    shard = partial(
        fully_shard,
        mesh=mesh["dp"],
        mp_policy=MixedPrecisionPolicy(param_dtype=half, reduce_dtype=torch.float32),
        reshard_after_forward=config["parallel.reshard"],
    )
    for block in model.blocks:
        parallelize_module(block, tp, plan)
        if config["train.recompute"]:
            recompute(block)
        shard(block)
    shard(model)
    return model


def clip_grad_norm(model, max_norm):
    """LayerNorms live on the dp mesh, the rest on dp x tp; clip_grad_norm_ does not mix meshes."""
    by_mesh = {}
    for p in model.parameters():
        by_mesh.setdefault(p.device_mesh, []).append(p)
    norms = [nn.utils.get_total_norm([p.grad for p in group]).full_tensor() for group in by_mesh.values()]
    total = torch.stack(norms).norm()
    for group in by_mesh.values():
        nn.utils.clip_grads_with_norm_(group, max_norm, total)
    return total


def main():
    config = read_config(sys.argv[1:])
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    world_size, local_size = int(os.environ["WORLD_SIZE"]), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    tp = config["parallel.tp"] or local_size
    if kind == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    mesh = init_device_mesh(kind, (world_size // tp, tp), mesh_dim_names=("dp", "tp"))
    rank = dist.get_rank()

    torch.manual_seed(0)
    with torch.device("meta"):
        model = LanguageModel(*(config[f"model.{key}"] for key in ("vocabulary", "length", "dim", "layers", "heads")))
    parallelize(model, mesh, config).to_empty(device=kind)
    with torch.no_grad():
        for p in model.parameters():
            nn.init.normal_(p, std=0.02) if p.dim() > 1 else nn.init.zeros_(p)
        for m in model.modules():
            if isinstance(m, nn.LayerNorm):
                nn.init.ones_(m.weight)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.5e-4, betas=(0.9, 0.95), weight_decay=0.1)

    torch.manual_seed(10 + mesh["dp"].get_local_rank())  # one tensor-parallel group, one batch
    for step in range(config["train.steps"]):
        shape = (config["train.batch"], config["model.length"])
        tokens = torch.randint(config["model.vocabulary"], shape, device=kind)
        logits = model(tokens)
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), tokens[:, 1:].flatten())
        loss.backward()
        norm = clip_grad_norm(model, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if rank == 0:
            print(f"step {step:3d} loss {loss.item():.4f} norm {norm.item():.3f}", flush=True)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
