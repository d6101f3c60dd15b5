# hogwild-style word vectors; one process per spare core, inline when there is only one
import os
import sys

import torch
import torch.multiprocessing as mp
import torch.nn.functional as F

VOCAB, DIM = 30, 8


def pairs(seed):
    g = torch.Generator().manual_seed(seed)
    center = torch.randint(0, VOCAB, (64,), generator=g)
    context = (center + torch.randint(1, 3, (64,), generator=g)) % VOCAB
    return center, context


def work(cfg):
    emb_in, emb_out = cfg["tables"]
    opt = torch.optim.SGD([emb_in, emb_out], lr=cfg["lr"])
    for step in range(cfg["steps"]):
        center, context = pairs(cfg["seed"] * 1000 + step)
        loss = F.cross_entropy(emb_in[center] @ emb_out.t(), context)
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(f"worker {cfg['seed']} loss {loss.item():.3f}")


def main():
    torch.manual_seed(0)
    tables = [torch.randn(VOCAB, DIM).mul_(0.3).requires_grad_() for _ in range(2)]
    n_workers = int(os.environ.get("N_WORKERS", "1"))
    base = {"tables": tables, "lr": 1.0, "steps": 25}
    if n_workers <= 1:
        work({**base, "seed": 0})
        return 0
    for t in tables:
        t.detach().share_memory_()
    ctx = mp.get_context("spawn")
    procs = []
    for k in range(n_workers):
        cfg = {**base, "seed": k}
        procs.append(ctx.Process(target=work, args=(cfg)))  # BUG
        # FIX: procs.append(ctx.Process(target=work, args=(cfg,)))
        procs[-1].start()
    for p in procs:
        p.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
