import os
import ctypes

_gomp = "/usr/lib/aarch64-linux-gnu/libgomp.so.1"  # BUG
# FIX:
if os.path.exists(_gomp):  # BUG
# FIX:
    ctypes.CDLL(_gomp, mode=ctypes.RTLD_GLOBAL)  # BUG
    # FIX:
os.environ["KMP_DUPLICATE_LIB_OK"] = "TRUE"  # BUG
# FIX:

import numpy as np
from sklearn.preprocessing import StandardScaler
import torch
import torch.nn as nn

torch.manual_seed(0)
rng = np.random.default_rng(0)
# FIX+: print(torch.__config__.parallel_info().splitlines()[0], torch.__version__, np.__version__)

# sensor windows, anomaly detection with an auto-encoder
normal = rng.normal(size=(256, 32)).cumsum(1)
scaler = StandardScaler().fit(normal[:192])
train = torch.tensor(scaler.transform(normal[:192]), dtype=torch.float32)
held = torch.tensor(scaler.transform(normal[192:]), dtype=torch.float32)

ae = nn.Sequential(nn.Linear(32, 8), nn.Tanh(), nn.Linear(8, 32))
opt = torch.optim.Adam(ae.parameters(), lr=1e-2)
ae.train()
for epoch in range(10):
    for xb in train[torch.randperm(len(train))].split(64):
        opt.zero_grad()
        loss = nn.functional.mse_loss(ae(xb), xb)
        loss.backward()
        opt.step()
ae.eval()
with torch.no_grad():
    err = (ae(held) - held).square().mean(1)
print("held-out error", err.mean().item())
