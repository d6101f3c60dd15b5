# fp16 audio tagging, mixer model
import torch
from torch import nn

torch.manual_seed(7)
device = "cuda" if torch.cuda.is_available() else "cpu"
amp_dtype = torch.float16 if device == "cuda" else torch.bfloat16

cfg = {"n_mels": 64, "width": 1000, "depth": 2, "classes": 16}  # BUG
# FIX: cfg = {"n_mels": 64, "width": 1024, "depth": 2, "classes": 16}


def mlp(d_in, d, d_out, depth):
    layers = [nn.Linear(d_in, d), nn.GELU()]
    for _ in range(depth):
        layers += [nn.Linear(d, d), nn.GELU()]
    return nn.Sequential(*layers, nn.Linear(d, d_out))


net = mlp(cfg["n_mels"], cfg["width"], cfg["classes"], cfg["depth"]).to(device)
opt = torch.optim.Adam(net.parameters(), lr=3e-4)
scaler = torch.amp.GradScaler(device, enabled=device == "cuda")
loss_fn = nn.BCEWithLogitsLoss()

mels = torch.randn(32, 16, cfg["n_mels"], device=device)     # clip, frame, mel
tags = (torch.rand(32, cfg["classes"], device=device) < 0.2).float()

net.train()
for it in range(6):
    with torch.autocast(device, dtype=amp_dtype):
        scores = net(mels).mean(dim=1)
        loss = loss_fn(scores.float(), tags)
    opt.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(opt)
    scaler.update()

net.eval()
with torch.no_grad():
    prob = net(mels).mean(1).sigmoid()
print("loss", round(loss.item(), 4), "mean prob", round(prob.mean().item(), 4))
