# DQN-like value fitting on random transitions
import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(5)
dev = "cuda" if torch.cuda.is_available() else "cpu"
N, S, A = 2048, 16, 8
obs = torch.randn(N, S, device=dev)
act = torch.randint(A, (N,), device=dev)
rew = obs[:, 0] + 0.1 * act
nxt = torch.randn(N, S, device=dev)
done = (torch.rand(N, device=dev) < 0.1).float()

q = nn.Sequential(nn.Linear(S, 128), nn.ReLU(), nn.Linear(128, A)).to(dev)
target = copy.deepcopy(q).requires_grad_(False)
opt = torch.optim.Adam(q.parameters(), lr=1e-3)
curve = []

for it in range(40):
    idx = torch.randint(N, (128,), device=dev)
    with torch.no_grad():
        backup = rew[idx] + 0.99 * (1 - done[idx]) * target(nxt[idx]).amax(1)
    pred = q(obs[idx]).gather(1, act[idx].unsqueeze(1)).squeeze(1)
    td = F.smooth_l1_loss(pred, backup)
    opt.zero_grad()
    td.backward()
    opt.step()
    curve.append(td.detach().cpu().numpy())  # BUG
    # FIX: curve.append(td.detach())
    if it % 10 == 9:
        target.load_state_dict(q.state_dict())
        print(it + 1, "td", float(sum(curve[-10:]) / 10))
