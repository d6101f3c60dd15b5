# prototype memory read, query to slot scores
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(19)
B, N, SLOTS, D = 8, 64, 128, 64

memory = nn.Parameter(torch.randn(SLOTS, D) * D ** -0.5)
temp = nn.Parameter(torch.ones(SLOTS))
encode = nn.Sequential(nn.Linear(16, D), nn.GELU())
decode = nn.Linear(D, 16)
opt = torch.optim.Adam([memory, temp, *encode.parameters(), *decode.parameters()], lr=2e-3)


def affinity(q, slots):
    return torch.sum(q[:, :, None] * slots, -1)  # BUG
    # FIX: return q @ slots.mT


def read(x):
    q = encode(x)
    att = torch.softmax(affinity(q, memory) * temp, dim=-1)     # temp: one value per slot
    return decode(att @ memory)


encode.train()
decode.train()
signal = torch.randn(B, N, 16).cumsum(1) / 8
for it in range(15):
    loss = F.mse_loss(read(signal), signal)
    opt.zero_grad()
    loss.backward()
    opt.step()
    if it % 5 == 4:
        print(it + 1, loss.item())
