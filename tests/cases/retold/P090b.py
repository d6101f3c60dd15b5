# spam filter on bag-of-words counts: first all ham, then all spam
import torch
from torch import nn

torch.manual_seed(0)
VOCAB = 60
ham = torch.poisson(torch.full((90, VOCAB), 0.3))
spam = torch.poisson(torch.full((90, VOCAB), 0.3))
spam[:, :5] += torch.poisson(torch.full((90, 5), 0.8))
features = torch.log1p(torch.cat([ham, spam]))
target = torch.cat([torch.zeros(90), torch.ones(90)])

model = nn.Sequential(nn.Linear(VOCAB, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))
loss_fn = nn.BCEWithLogitsLoss()
opt = torch.optim.SGD(model.parameters(), lr=0.1)

BATCH = 30
for epoch in range(5):
    model.train()
    order = torch.arange(len(target))  # BUG
    # FIX: order = torch.randperm(len(target))
    for idx in order.split(BATCH):
        loss = loss_fn(model(features[idx]), target[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        acc = ((model(features) > 0).float() == target).float().mean().item()
    print(epoch, f"{loss.item():.4f}", f"train acc {acc:.3f}")
