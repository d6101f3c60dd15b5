# tiny accelerate-like wrapper; run with torchrun --nproc-per-node 2 or alone
import os

import torch
import torch.distributed as dist
import torch.nn as nn


class Accel:
    def __init__(self):
        defaults = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29687"}
        for k, v in defaults.items():
            os.environ.setdefault(k, v)
        if torch.cuda.is_available():
            self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
            torch.cuda.set_device(self.device)
            dist.init_process_group("nccl")
        else:
            self.device = torch.device("cpu")
            dist.init_process_group("gloo")
        self.is_main = dist.get_rank() == 0

    def prepare(self, module):
        return nn.parallel.DistributedDataParallel(module.to(self.device))

    def collect(self, stats):
        """stats of every rank on the main process, None elsewhere"""
        slots = [None] * dist.get_world_size() if self.is_main else None  # BUG
        # FIX: row = torch.tensor([stats["loss"], stats["n"]], dtype=torch.float64, device=self.device)
        dist.gather_object(stats, slots, dst=0)  # BUG
        # FIX: rows = [torch.empty_like(row) for _ in range(dist.get_world_size())]
        # FIX: dist.all_gather(rows, row)
        # FIX: slots = [{"loss": r[0].item(), "n": int(r[1])} for r in rows] if self.is_main else None
        return slots

    def end(self):
        dist.destroy_process_group()


accel = Accel()
torch.manual_seed(0)
lm = accel.prepare(nn.Sequential(nn.Embedding(128, 32), nn.Linear(32, 128)))
opt = torch.optim.AdamW(lm.parameters(), lr=1e-2)
gen = torch.Generator().manual_seed(dist.get_rank())
text = torch.randint(128, (12, 17), generator=gen).to(accel.device)
lm.train()
for ep in range(3):
    total, n = torch.zeros((), device=accel.device), 0
    for chunk in text.split(4):
        logits = lm(chunk[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), chunk[:, 1:].flatten())
        opt.zero_grad()
        loss.backward()
        opt.step()
        total += loss.detach() * len(chunk)
        n += len(chunk)
    per_rank = accel.collect({"loss": total.item(), "n": n})
    if accel.is_main:
        print(ep, sum(s["loss"] for s in per_rank) / sum(s["n"] for s in per_rank))
accel.end()
