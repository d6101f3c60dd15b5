# Iris-like flowers, quick notebook
import torch
from torch import nn

torch.manual_seed(0)

N, VAL_FRACTION = 240, 0.25
centres = torch.tensor([[5.0, 3.4, 1.5, 0.2], [5.9, 2.8, 4.3, 1.3], [6.6, 3.0, 5.5, 2.0]])
species = torch.randint(0, 3, (N,))
measure = centres[species] + 0.35 * torch.randn(N, 4)

# ---- split -----------------------------------------------------------
n_train = int(N * (1 - VAL_FRACTION))


def head_rows(order, count):
    """first `count` rows of a shuffled order"""
    take = torch.range(0, count, dtype=torch.long)  # BUG
    # FIX: take = torch.arange(0, count, dtype=torch.long)
    return order.index_select(0, take)


order = torch.randperm(N)
train_rows = head_rows(order, n_train)
val_rows = order[n_train:]

# statistics come from the training rows only
mu = measure[train_rows].mean(0)
sd = measure[train_rows].std(0)
x = (measure - mu) / sd

# ---- model -----------------------------------------------------------
net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
loss_fn = nn.CrossEntropyLoss()

for epoch in range(12):
    net.train()
    for rows in train_rows[torch.randperm(len(train_rows))].split(30):
        opt.zero_grad()
        loss = loss_fn(net(x[rows]), species[rows])
        loss.backward()
        opt.step()

    net.eval()
    with torch.no_grad():
        acc = (net(x[val_rows]).argmax(1) == species[val_rows]).float().mean()
    if epoch % 4 == 3:
        print(f"{epoch + 1:3d}  loss {loss.item():.3f}  val acc {acc.item():.3f}")

print("train rows:", len(train_rows), " val rows:", len(val_rows))
