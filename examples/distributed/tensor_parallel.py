"""Tensor and sequence parallelism with DTensor; the loss is computed on logits that stay split over the vocabulary.

torchrun --standalone --nproc-per-node 2 tensor_parallel.py --tp 2

With more ranks than --tp the rest are data-parallel replicas, whose gradients are averaged by hand.
"""

import argparse
import os

import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    PrepareModuleInput,
    RowwiseParallel,
    SequenceParallel,
    loss_parallel,
    parallelize_module,
)


class Attention(nn.Module):
    def __init__(self, dim, n_heads):
        super().__init__()
        self.head_dim = dim // n_heads
        self.wq, self.wk, self.wv = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.wo = nn.Linear(dim, dim, bias=False)

    def forward(self, x, bias):
        bs, seqlen, _ = x.shape
        # -1: the number of heads on this rank
        q, k, v = (w(x).view(bs, seqlen, -1, self.head_dim).transpose(1, 2) for w in (self.wq, self.wk, self.wv))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.wo(y.transpose(1, 2).reshape(bs, seqlen, -1))


class FeedForward(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.w1 = nn.Linear(dim, hidden, bias=False)
        self.w2 = nn.Linear(hidden, dim, bias=False)
        self.w3 = nn.Linear(dim, hidden, bias=False)

    def forward(self, x):
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class Block(nn.Module):
    def __init__(self, dim, n_heads, hidden):
        super().__init__()
        self.attention_norm = nn.RMSNorm(dim)
        self.attention = Attention(dim, n_heads)
        self.ffn_norm = nn.RMSNorm(dim)
        self.feed_forward = FeedForward(dim, hidden)

    def forward(self, x, bias):
        h = x + self.attention(self.attention_norm(x), bias)
        return h + self.feed_forward(self.ffn_norm(h))


class Transformer(nn.Module):
    """Decoder whose only notion of position is a distance bias (one slope for all heads)."""

    def __init__(self, vocab_size, seq_len, dim, n_layers, n_heads, hidden):
        super().__init__()
        self.tok_embeddings = nn.Embedding(vocab_size, dim)
        self.layers = nn.ModuleList(Block(dim, n_heads, hidden) for _ in range(n_layers))
        self.norm = nn.RMSNorm(dim)
        self.output = nn.Linear(dim, vocab_size, bias=False)
        distance = torch.arange(seq_len)[:, None] - torch.arange(seq_len)[None, :]
        self.register_buffer("bias", torch.where(distance < 0, float("-inf"), -distance / 16), persistent=False)

    def forward(self, tokens):
        h = self.tok_embeddings(tokens)
        for layer in self.layers:
            h = layer(h, self.bias)
        return self.output(self.norm(h))


def apply_tp(model, tp_mesh):
    parallelize_module(
        model,
        tp_mesh,
        {
            "tok_embeddings": RowwiseParallel(input_layouts=Replicate(), output_layouts=Shard(1)),
            "norm": SequenceParallel(),
            "output": ColwiseParallel(input_layouts=Shard(1), output_layouts=Shard(-1), use_local_output=False),
        },
    )
    for layer in model.layers:
        parallelize_module(
            layer,
            tp_mesh,
            {
                "attention_norm": SequenceParallel(),
                "attention": PrepareModuleInput(
                    input_layouts=(Shard(1), None), desired_input_layouts=(Replicate(), None)
                ),
                "attention.wq": ColwiseParallel(),
                "attention.wk": ColwiseParallel(),
                "attention.wv": ColwiseParallel(),
                "attention.wo": RowwiseParallel(output_layouts=Shard(1)),
                "ffn_norm": SequenceParallel(),
                "feed_forward": PrepareModuleInput(input_layouts=(Shard(1),), desired_input_layouts=(Replicate(),)),
                "feed_forward.w1": ColwiseParallel(),
                "feed_forward.w2": RowwiseParallel(output_layouts=Shard(1)),
                "feed_forward.w3": ColwiseParallel(),
            },
        )
    return model


def average_gradients(model, group):
    for p in model.parameters():
        grad = p.grad.to_local()
        dist.all_reduce(grad, group=group)
        grad /= dist.get_world_size(group)


def main(args):
    device_type = "cuda" if torch.cuda.is_available() else "cpu"
    world_size = int(os.environ["WORLD_SIZE"])
    tp = args.tp or min(world_size, 8)
    assert world_size % tp == 0, f"world size {world_size} is not a multiple of --tp {tp}"
    if device_type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    mesh = init_device_mesh(device_type, (world_size // tp, tp), mesh_dim_names=("dp", "tp"))
    dp_mesh, tp_mesh = mesh["dp"], mesh["tp"]

    torch.manual_seed(0)
    model = Transformer(args.vocab_size, args.seq_len, args.dim, args.n_layers, args.n_heads, args.hidden)
    model = apply_tp(model.to(device_type), tp_mesh)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, foreach=True)

    # The ranks of one tensor-parallel group must see the same batch: the seed is the data-parallel rank.
    generator = torch.Generator().manual_seed(dp_mesh.get_local_rank())
    for i in range(args.num_iterations):
        batch = torch.randint(args.vocab_size, (args.batch_size, args.seq_len + 1), generator=generator).to(device_type)
        inputs, labels = batch[:, :-1], batch[:, 1:]
        with torch.autocast(device_type, dtype=torch.bfloat16, enabled=args.bf16):
            logits = model(inputs)
        with loss_parallel():
            loss = F.cross_entropy(logits.float().flatten(0, 1), labels.flatten())
            loss.backward()
        if dp_mesh.size() > 1:
            average_gradients(model, dp_mesh.get_group())
        optimizer.step()
        optimizer.zero_grad()
        value = loss.full_tensor().item()
        if dist.get_rank() == 0:
            print(f"iteration {i} loss {value:.4f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--tp", type=int, default=0, help="tensor-parallel degree (0: up to 8)")
    parser.add_argument("--vocab-size", type=int, default=32_000)
    parser.add_argument("--seq-len", type=int, default=2048)
    parser.add_argument("--dim", type=int, default=4096)
    parser.add_argument("--n-layers", type=int, default=16)
    parser.add_argument("--n-heads", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=11_008)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--num-iterations", type=int, default=10)
    parser.add_argument("--bf16", action="store_true")
    main(parser.parse_args())
