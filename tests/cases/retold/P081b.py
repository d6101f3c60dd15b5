# off-policy Q-learning on a small chain, notebook style
import random
from collections import deque
import torch
from torch import nn

random.seed(0)
torch.manual_seed(0)

N, GAMMA = 8, 0.95
q = nn.Sequential(nn.Linear(N, 32), nn.ReLU(), nn.Linear(32, 2))
q_target = nn.Sequential(nn.Linear(N, 32), nn.ReLU(), nn.Linear(32, 2))
q_target.load_state_dict(q.state_dict())
q_target.requires_grad_(False)
opt = torch.optim.Adam(q.parameters(), lr=3e-3)
buffer = deque(maxlen=2000)
one_hot = torch.eye(N)


def env_step(s, a):
    s2 = min(s + 1, N - 1) if a == 1 else max(s - 1, 0)
    done = s2 == N - 1
    return s2, float(done), done


def td_error():
    s, a, r, s2, d = map(torch.tensor, zip(*random.sample(buffer, 32)))
    with torch.no_grad():
        y = r + GAMMA * (1 - d.float()) * q_target(one_hot[s2]).max(1).values
    return y - q(one_hot[s]).gather(1, a[:, None]).squeeze(1)


curve = []
best = None
s, t = 0, 0
for step in range(300):
    with torch.no_grad():
        greedy = q(one_hot[s]).argmax().item()
    a = random.randrange(2) if random.random() < 0.3 else greedy
    s2, r, done = env_step(s, a)
    t += 1
    buffer.append((s, a, r, s2, done))
    s, t = (0, 0) if done or t >= 40 else (s2, t)
    if len(buffer) < 64:
        continue
    delta = td_error()
    opt.zero_grad()
    loss = delta.square().mean()
    loss.backward()
    opt.step()
    curve.append(delta.abs().mean())  # BUG
    # FIX: curve.append(delta.detach().abs().mean())
    if step % 50 == 0:
        q_target.load_state_dict(q.state_dict())

smooth = torch.stack(curve).detach().unfold(0, 20, 20).mean(1)
print("td error", [round(v, 4) for v in smooth.tolist()])
