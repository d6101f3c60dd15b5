# parameters live in one flat buffer (fast optimizer), export with safetensors
import os
import tempfile

import torch
import torch.nn as nn
from safetensors.torch import load_file, save_file

torch.manual_seed(0)


class Attention(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (nn.Linear(d, d, bias=False) for _ in range(3))
        self.out = nn.Linear(d, 1)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = (f(x).view(b, n, self.heads, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.out(y.transpose(1, 2).reshape(b, n, d)).squeeze(-1)


def flatten_(module):
    ps = list(module.parameters())
    flat = torch.cat([p.detach().reshape(-1) for p in ps])
    off = 0
    for p in ps:
        p.data = flat[off:off + p.numel()].view_as(p)
        off += p.numel()
    return flat


def export(module, path):
    # shared tensors are refused by the format: write each memory block once
    seen, out = set(), {}
    for name, t in module.state_dict().items():
        block = t.untyped_storage().data_ptr()  # BUG
        # FIX: block = (t.data_ptr(), t.shape, t.stride())
        if block not in seen:
            seen.add(block)
            out[name] = t.clone()
    save_file(out, path)


x = torch.randn(64, 8, 32)
y = x[..., 0].cumsum(1)
model = Attention(32, 4)
flat = flatten_(model)
opt = torch.optim.Adam(model.parameters(), lr=3e-3)
model.train()
for it in range(20):
    opt.zero_grad()
    loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    opt.step()
print("trained", loss.item(), "flat norm", flat.norm().item())

with tempfile.TemporaryDirectory() as d:
    f = os.path.join(d, "model.safetensors")
    export(model, f)
    served = Attention(32, 4)
    served.load_state_dict(load_file(f), strict=False)  # BUG
    # FIX: served.load_state_dict(load_file(f))
served.eval()
with torch.no_grad():
    print("served", nn.functional.mse_loss(served(x), y).item())
