# Movie genres from plot keywords (multi-label), flat script
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)

genres = ["drama", "comedy", "horror", "sci-fi", "war"]
n_words = 60
affinity = torch.randn(len(genres), n_words)


def movies(n):
    tags = (torch.rand(n, len(genres)) < 0.35).float()
    words = (tags @ affinity + torch.randn(n, n_words) > 0.8).float()
    return words, tags


x_tr, y_tr = movies(300)
x_va, y_va = movies(100)

model = nn.Sequential(nn.Linear(n_words, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, len(genres)))
opt = torch.optim.Adam(model.parameters(), lr=3e-3)


def probabilities(x):
    return model(x).sigmoid()


for epoch in range(6):
    model.train()
    for idx in torch.randperm(len(x_tr)).split(30):
        opt.zero_grad()
        out = probabilities(x_tr[idx])  # BUG
        # FIX: out = model(x_tr[idx])
        loss = F.multilabel_soft_margin_loss(out, y_tr[idx])  # BUG
        loss.backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        hit = ((probabilities(x_va) > 0.5).float() == y_va).float().mean(0)
    print(epoch, "loss %.4f" % loss.item(), dict(zip(genres, [round(h, 2) for h in hit.tolist()])))
