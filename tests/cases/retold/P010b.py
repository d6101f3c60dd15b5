import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(2)

# Fraud detection on imbalanced tabular data (old script)
X = torch.randn(600, 8)
y = (X[:, 0] + 0.5 * X[:, 1] + 0.3 * torch.randn(600) > 1.4).long()
Xtr, ytr, Xva, yva = X[:450], y[:450], X[450:], y[450:]

net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 2))
class_weight = torch.tensor([1.0, 4.0])
opt = torch.optim.Adam(net.parameters(), lr=0.01)


def confusion(pred, truth):
    tp = (((pred == 1) + (truth == 1)) == 2).sum().item()  # BUG
    # FIX: tp = ((pred == 1) & (truth == 1)).sum().item()
    n_pred = (pred == 1).sum().item()
    n_true = (truth == 1).sum().item()
    return tp, n_pred, n_true


best_f1, best_state = -1.0, None
for epoch in range(10):
    net.train()
    perm = torch.randperm(len(Xtr))
    for i in range(0, len(Xtr), 50):
        idx = perm[i:i + 50]
        opt.zero_grad()
        loss = F.cross_entropy(net(Xtr[idx]), ytr[idx], weight=class_weight)
        loss.backward()
        opt.step()
    net.eval()
    with torch.no_grad():
        tp, n_pred, n_true = confusion(net(Xva).argmax(1), yva)
    precision = tp / max(n_pred, 1)
    recall = tp / max(n_true, 1)
    f1 = 2 * precision * recall / max(precision + recall, 1e-8)
    if f1 > best_f1:
        best_f1, best_state = f1, {k: v.clone() for k, v in net.state_dict().items()}
    print("epoch %d loss %.3f P %.2f R %.2f F1 %.2f" % (epoch, loss.item(), precision, recall, f1))

net.load_state_dict(best_state)
