"""A Llama-shaped model with FSDP2: fully_shard per block and root, mixed precision, sharded checkpoint.

torchrun --standalone --nproc-per-node 2 fsdp2_transformer.py --reshard-after-forward true
"""

import argparse
import os
import time

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.nn as nn
import torch.nn.functional as F
from torch.distributed.checkpoint.state_dict import get_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def rotary(head_dim: int, length: int, theta: float = 500_000.0) -> tuple[torch.Tensor, torch.Tensor]:
    frequencies = theta ** (-torch.arange(0, head_dim, 2).float() / head_dim)
    angles = torch.outer(torch.arange(length).float(), frequencies)
    return angles.cos(), angles.sin()


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2).type_as(x)


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int, kv_heads: int):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, dim // heads
        self.wq = nn.Linear(dim, heads * self.head_dim, bias=False)
        self.wk = nn.Linear(dim, kv_heads * self.head_dim, bias=False)
        self.wv = nn.Linear(dim, kv_heads * self.head_dim, bias=False)
        self.wo = nn.Linear(heads * self.head_dim, dim, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        b, t, _ = x.shape
        q = rotate(self.wq(x).view(b, t, self.heads, self.head_dim).transpose(1, 2), cos, sin)
        k = rotate(self.wk(x).view(b, t, self.kv_heads, self.head_dim).transpose(1, 2), cos, sin)
        v = self.wv(x).view(b, t, self.kv_heads, self.head_dim).transpose(1, 2)
        repeats = self.heads // self.kv_heads
        k, v = k.repeat_interleave(repeats, dim=1), v.repeat_interleave(repeats, dim=1)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.wo(out.transpose(1, 2).reshape(b, t, -1))


class FeedForward(nn.Module):
    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.w1 = nn.Linear(dim, hidden, bias=False)
        self.w2 = nn.Linear(hidden, dim, bias=False)
        self.w3 = nn.Linear(dim, hidden, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class TransformerBlock(nn.Module):
    def __init__(self, dim: int, heads: int, kv_heads: int, hidden: int):
        super().__init__()
        self.attention_norm = nn.RMSNorm(dim)
        self.attention = Attention(dim, heads, kv_heads)
        self.ffn_norm = nn.RMSNorm(dim)
        self.feed_forward = FeedForward(dim, hidden)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.attention_norm(x), cos, sin)
        return x + self.feed_forward(self.ffn_norm(x))


class Transformer(nn.Module):
    def __init__(self, args: argparse.Namespace):
        super().__init__()
        self.head_dim, self.length = args.dim // args.heads, args.length
        self.tok_embeddings = nn.Embedding(args.vocabulary, args.dim)
        self.register_buffer("cos", torch.empty(args.length, self.head_dim // 2), persistent=False)
        self.register_buffer("sin", torch.empty(args.length, self.head_dim // 2), persistent=False)
        self.layers = nn.ModuleDict(
            {str(i): TransformerBlock(args.dim, args.heads, args.kv_heads, args.hidden) for i in range(args.layers)}
        )
        self.norm = nn.RMSNorm(args.dim)
        self.output = nn.Linear(args.dim, args.vocabulary, bias=False)

    @torch.no_grad()
    def init_weights(self) -> None:
        cos, sin = rotary(self.head_dim, self.length)
        self.cos.copy_(cos)
        self.sin.copy_(sin)
        for module in self.modules():
            if isinstance(module, nn.RMSNorm):
                module.reset_parameters()
            elif isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.tok_embeddings(tokens)
        cos, sin = self.cos[: tokens.shape[1]], self.sin[: tokens.shape[1]]
        for layer in self.layers.values():
            x = layer(x, cos, sin)
        return self.output(self.norm(x))


def parse_reshard(text: str) -> bool | int:
    """``true``, ``false``, or the size of the smaller group that parameters are resharded to after forward."""
    return {"true": True, "false": False}.get(text.lower()) if not text.isdigit() else int(text)


def shard(model: Transformer, args: argparse.Namespace, mesh) -> None:
    policy = MixedPrecisionPolicy(param_dtype=DTYPES[args.param_dtype], reduce_dtype=DTYPES[args.reduce_dtype])
    for block in model.layers.values():
        fully_shard(block, mesh=mesh, mp_policy=policy, reshard_after_forward=args.reshard_after_forward)
    fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=args.reshard_after_forward)
    assert isinstance(model, FSDPModule)


def batches(args: argparse.Namespace, rank: int):
    generator = torch.Generator().manual_seed(1000 + rank)
    while True:
        tokens = torch.randint(args.vocabulary, (args.batch_size, args.length + 1), generator=generator)
        yield tokens[:, :-1], tokens[:, 1:]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dim", type=int, default=4096)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--kv-heads", type=int, default=8)
    parser.add_argument("--hidden", type=int, default=14_336)
    parser.add_argument("--vocabulary", type=int, default=128_256)
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--batch-size", type=int, default=1, help="sequences per GPU")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--reshard-after-forward", type=parse_reshard, default=True)
    parser.add_argument("--param-dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--reduce-dtype", choices=DTYPES, default="fp32")
    parser.add_argument("--prefetch", type=int, default=0, help="blocks to gather ahead of their use")
    parser.add_argument("--save-dir", default=None, help="folder of the sharded checkpoint")
    args = parser.parse_args()

    device_type = "cuda" if torch.cuda.is_available() else "cpu"
    local_rank = int(os.environ["LOCAL_RANK"])
    device = torch.device(device_type, local_rank) if device_type == "cuda" else torch.device("cpu")
    if device_type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("cuda:nccl,cpu:gloo" if device_type == "cuda" else "gloo")
    rank, world_size = dist.get_rank(), dist.get_world_size()
    mesh = init_device_mesh(device_type, (world_size,), mesh_dim_names=("dp",))

    torch.manual_seed(42)
    with torch.device("meta"):
        model = Transformer(args)
    shard(model, args, mesh)
    model.to_empty(device=device)
    model.init_weights()
    if args.prefetch:
        blocks = list(model.layers.values())
        for i, block in enumerate(blocks):
            block.set_modules_to_forward_prefetch(blocks[i + 1 : i + 1 + args.prefetch])
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, betas=(0.9, 0.95), fused=device_type == "cuda")
    if rank == 0:
        held = sum(p.to_local().numel() for p in model.parameters())
        print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {held:,} on this rank")

    data = batches(args, rank)
    for step in range(args.steps):
        start = time.perf_counter()
        tokens, labels = (t.to(device, non_blocking=True) for t in next(data))
        logits = model(tokens)
        loss = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
        optimizer.step()
        optimizer.zero_grad()
        if rank == 0 and step % 10 == 0:
            rate = args.batch_size * args.length / (time.perf_counter() - start)
            print(f"step {step} loss {loss.item():.4f} norm {norm.full_tensor().item():.3f} {rate:,.0f} tok/s")
        elif step % 10 == 0:
            norm.full_tensor()  # a collective: every rank takes part

    if args.save_dir:
        model_state, optimizer_state = get_state_dict(model, optimizer)
        dcp.save({"model": model_state, "optimizer": optimizer_state}, checkpoint_id=args.save_dir)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
