# torchrun --nproc-per-node 2 this_file.py      (manual gradient averaging, callbacks)
import os
import pathlib
import tempfile

import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors.torch import save_file

for key, val in dict(RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="29671").items():
    os.environ.setdefault(key, val)
local = int(os.environ.get("LOCAL_RANK", 0))
use_cuda = torch.cuda.is_available()
device = f"cuda:{local}" if use_cuda else "cpu"
if use_cuda:
    torch.cuda.set_device(local)
dist.init_process_group("nccl" if use_cuda else "gloo")
rank, world = dist.get_rank(), dist.get_world_size()
run_dir = pathlib.Path(tempfile.gettempdir()) / f"mf_{os.environ['MASTER_PORT']}"
run_dir.mkdir(exist_ok=True)

# matrix factorisation of ratings, the users are split over the ranks
g = torch.Generator().manual_seed(0)
users, items, dim = 64, 48, 8
U = torch.randn(users, dim, generator=g).mul_(0.3).to(device).requires_grad_()
V = torch.randn(items, dim, generator=g).mul_(0.3).to(device).requires_grad_()
ratings = torch.randn(users, items, generator=g).to(device)
mine = torch.arange(rank, users, world, device=device)


def average_grads(params):
    for p in params:
        dist.all_reduce(p.grad)
        p.grad.div_(world)


def main_only(fn):
    return lambda *a: fn(*a) if rank == 0 else None


@main_only
def report(step, loss):
    print(f"step {step} loss {loss.item():.4f}")


def snapshot(step, loss):  # BUG
# FIX: @main_only
# FIX: def snapshot(step, loss):
    save_file({"U": U.detach().cpu(), "V": V.detach().cpu()}, str(run_dir / f"step{step}.safetensors"))


callbacks = [report, snapshot]
opt = torch.optim.Adam([U, V], lr=0.05)
for step in range(1, 11):
    loss = F.mse_loss(U[mine] @ V.t(), ratings[mine])
    opt.zero_grad(set_to_none=False)
    loss.backward()
    average_grads([U, V])
    opt.step()
    if step % 5 == 0:
        for cb in callbacks:
            cb(step, loss)
        dist.barrier()

if rank == 0:
    for f in run_dir.glob("*.safetensors"):
        f.unlink()
    run_dir.rmdir()
dist.destroy_process_group()
