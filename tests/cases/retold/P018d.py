# Masked-patch reconstruction on tiny satellite tiles (36 x 36, 4 bands)
import torch
import torch.nn as nn
import torch.nn.functional as F

PATCH = 8


def patchify(img, p=PATCH):
    b, c, h, w = img.shape
    # FIX+: img = F.pad(img, (0, -w % p, 0, -h % p), mode="reflect")
    tiles = img.unfold(2, p, p).unfold(3, p, p)  # BUG
    # (B, C, gh, gw, p, p) -> (B, gh*gw, C*p*p)
    return tiles.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


class PatchEncoder(nn.Module):
    def __init__(self, n_tokens, in_dim, dim=64, depth=2):
        super().__init__()
        self.embed = nn.Linear(in_dim, dim)
        self.pos = nn.Parameter(torch.randn(1, n_tokens, dim) * 0.02)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        layer = nn.TransformerEncoderLayer(dim, 4, 128, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.head = nn.Linear(dim, in_dim)

    def forward(self, tokens, hidden):
        h = self.embed(tokens)
        h = torch.where(hidden.unsqueeze(-1), self.mask_token, h) + self.pos
        return self.head(self.blocks(h))


def tiles_dataset(n, size=36, seed=0):
    g = torch.Generator().manual_seed(seed)
    low = torch.randn(n, 4, 5, 5, generator=g)
    return F.interpolate(low, size=(size, size), mode="bilinear", align_corners=False)


def random_mask(b, n, ratio, g):
    order = torch.rand(b, n, generator=g).argsort(dim=1)
    return order < int(n * ratio)


torch.manual_seed(3)
gen = torch.Generator().manual_seed(3)
data = tiles_dataset(128)
probe = patchify(data[:1])
model = PatchEncoder(probe.shape[1], probe.shape[2])
opt = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)

model.train()
for step in range(20):
    idx = torch.randperm(len(data), generator=gen)[:32]
    tokens = patchify(data[idx])
    hidden = random_mask(tokens.shape[0], tokens.shape[1], 0.6, gen)
    recon = model(tokens, hidden)
    per_patch = (recon - tokens).square().mean(-1)
    loss = (per_patch * hidden).sum() / hidden.sum()  # only hidden patches count
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 5 == 0:
        print(f"step {step:3d} loss {loss.item():.4f}")
