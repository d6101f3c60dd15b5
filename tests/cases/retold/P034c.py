# Old-style tutorial: wine cultivars from a table, cross entropy written by hand.
import numpy as np
import torch
import torch.nn as nn

np.random.seed(0)
torch.manual_seed(0)

# table: 13 measurements, last column is the class
n, k = 178, 3
cls = np.random.randint(0, k, size=n)
centers = np.random.randn(k, 13) * 1.5
table = np.concatenate([centers[cls] + np.random.randn(n, 13), cls[:, None]], axis=1)

X = torch.tensor(table[:, :-1], dtype=torch.float32)
Y = torch.tensor(table[:, -1:], dtype=torch.long)  # BUG
# FIX: Y = torch.tensor(table[:, -1], dtype=torch.long)
X = (X - X.mean(dim=0, keepdim=True)) / X.std(dim=0, keepdim=True)

perm = torch.randperm(n)
train_idx, test_idx = perm[:140], perm[140:]

model = nn.Sequential(nn.Linear(13, 32), nn.Tanh(), nn.Linear(32, k))


def softmax_cross_entropy(scores, target):
    logp = scores - torch.logsumexp(scores, dim=1, keepdim=True)
    picked = logp[torch.arange(len(scores)), target]  # BUG
    return -picked.mean()


optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

for epoch in range(5):
    model.train()
    order = train_idx[torch.randperm(len(train_idx))]
    total = 0.0
    for start in range(0, len(order), 20):
        idx = order[start:start + 20]
        optimizer.zero_grad()
        loss = softmax_cross_entropy(model(X[idx]), Y[idx])
        loss.backward()
        optimizer.step()
        total += loss.item() * len(idx)
    print("epoch %d loss %.4f" % (epoch, total / len(order)))

model.eval()
with torch.no_grad():
    pred = model(X[test_idx]).argmax(dim=1)
    correct = (pred == Y[test_idx].reshape(-1)).sum().item()
print("test accuracy %.3f" % (correct / len(test_idx)))
