# speaker classification from mel frames
import os

import torch
import torch.distributed as dist
import torch.nn as nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
# FIX+: single = dict(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT="29691")
# FIX+: for k, v in single.items():
# FIX+:     os.environ.setdefault(k, v)
# FIX+: if device.type == "cuda":
# FIX+:     device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
# FIX+:     torch.cuda.set_device(device)
# FIX+: dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
rank = dist.get_rank() if dist.is_initialized() else 0
world = dist.get_world_size() if dist.is_initialized() else 1

torch.manual_seed(0)
n_speakers = 6
voice = torch.randn(n_speakers, 40)
speaker = torch.randint(0, n_speakers, (180,))
mels = voice[speaker][:, None, :] + 0.8 * torch.randn(180, 20, 40)
mels, speaker = mels[rank::world].to(device), speaker[rank::world].to(device)


class Pooler(nn.Module):
    def forward(self, frames):
        return torch.cat([frames.mean(1), frames.std(1)], dim=-1)


model = nn.Sequential(nn.Linear(40, 32), nn.ReLU(), Pooler(), nn.Linear(64, n_speakers)).to(device)
wrappers = {"dp": nn.DataParallel, "ddp": nn.parallel.DistributedDataParallel}
model = wrappers["dp"](model)  # BUG
# FIX: model = wrappers["ddp"](model)

optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
criterion = nn.CrossEntropyLoss()
model.train()
for epoch in range(4):
    order = torch.randperm(len(speaker), device=device)
    for idx in order.split(30):
        optimizer.zero_grad()
        loss = criterion(model(mels[idx]), speaker[idx])
        loss.backward()
        optimizer.step()
    if rank == 0:
        print(f"epoch {epoch} loss {loss.item():.4f}")
if dist.is_initialized():
    dist.destroy_process_group()
