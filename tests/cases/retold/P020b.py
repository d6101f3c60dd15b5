# Denoise checkered textures with a dilated context stack (no pooling)
import torch
import torch.nn as nn

torch.manual_seed(1)

depth, width, rate = 5, 8, 2
layers, cin = [], 1
for i in range(depth):
    d = rate  # BUG
    # FIX: d = (1, 2, 3, 2, 1)[i]
    layers += [nn.Conv2d(cin, width, 3, padding=d, dilation=d), nn.PReLU()]
    cin = width
context = nn.Sequential(*layers)
readout = nn.Conv2d(width, 1, 1)
nn.init.zeros_(readout.bias)

opt = torch.optim.Adam(list(context.parameters()) + list(readout.parameters()), lr=5e-3)


def textures(n, size=24):
    coarse = torch.randn(n, 1, size // 3, size // 3)
    clean = nn.functional.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)
    return clean, clean + 0.5 * torch.randn_like(clean)


context.train()
for step in range(50):
    clean, noisy = textures(8)
    out = noisy + readout(context(noisy))
    loss = (out - clean).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 10 == 0:
        print(step, "%.4f" % loss.item())

context.eval()
with torch.no_grad():
    clean, noisy = textures(16)
    print("noisy mse %.4f" % (noisy - clean).pow(2).mean().item())
    print("clean mse %.4f" % (noisy + readout(context(noisy)) - clean).pow(2).mean().item())
