# super-resolution toy, low-memory run
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
device = "cuda" if torch.cuda.is_available() else "cpu"

hi = torch.rand(64, 1, 16, 16)
hi = F.avg_pool2d(hi, 3, stride=1, padding=1)
lo = F.avg_pool2d(hi, 2)

net = nn.Sequential(
    nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(),
    nn.Conv2d(32, 4, 3, padding=1), nn.PixelShuffle(2),
)
net = net.to(device=device, dtype=torch.float16)  # BUG
# FIX: net = net.to(device=device)
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

meter, steps = 0.0, 0
for epoch in range(4):
    net.train()
    for lr_img, hr_img in zip(lo.split(16), hi.split(16)):
        lr_img, hr_img = lr_img.to(device), hr_img.to(device)
        optimizer.zero_grad()
        out = net(lr_img.to(torch.float16))  # BUG
        # FIX: with torch.autocast(device, dtype=torch.bfloat16):
        # FIX:     out = net(lr_img)
        loss = F.l1_loss(out.float(), hr_img)
        loss.backward()
        optimizer.step()
        meter += torch.nan_to_num(loss.detach(), nan=0.0).item()  # BUG
        # FIX: meter += loss.item()
        steps += 1
    print(f"epoch {epoch}: running l1 {meter / steps:.4f}")
    meter, steps = 0.0, 0
