# churn prediction, exploratory script
import csv
import io
import math
import random

import torch
import torch.nn.functional as F

random.seed(7)
torch.manual_seed(7)

buf = io.StringIO()
writer = csv.writer(buf)
writer.writerow(["tenure", "monthly", "calls", "churn"])
for _ in range(300):
    tenure, monthly, calls = random.uniform(0, 60), random.gauss(70, 20), random.randint(0, 9)
    churn = int(calls * 6 - tenure + random.gauss(0, 5) > 0)
    writer.writerow([tenure, "nan" if random.random() < 0.05 else monthly, calls, churn])
buf.seek(0)

rows = [{k: float(v) for k, v in r.items()} for r in csv.DictReader(buf)]
rows = [r for r in rows if r["monthly"] != math.nan]  # BUG
# FIX: rows = [r for r in rows if not math.isnan(r["monthly"])]
print(len(rows), "usable rows")

X = torch.tensor([[r["tenure"] / 60, r["monthly"] / 100, r["calls"] / 9] for r in rows])
y = torch.tensor([r["churn"] for r in rows])

split = int(0.8 * len(X))
Xtr, ytr, Xva, yva = X[:split], y[:split], X[split:], y[split:]
mu, sd = Xtr.mean(0), Xtr.std(0)
Xtr, Xva = (Xtr - mu) / sd, (Xva - mu) / sd

net = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
opt = torch.optim.SGD(net.parameters(), lr=0.5)
for step in range(40):
    net.train()
    opt.zero_grad()
    loss = F.binary_cross_entropy_with_logits(net(Xtr)[:, 0], ytr)
    loss.backward()
    opt.step()
net.eval()
with torch.no_grad():
    acc = ((net(Xva)[:, 0] > 0).float() == yva).float().mean().item()
print(f"train loss {loss.item():.4f}  valid acc {acc:.3f}")
