# semi-supervised: labelled batches drive the epoch, unlabelled batches ride along
import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
centres = torch.randn(4, 16) * 2
y = torch.randint(4, (64,))
labelled = DataLoader(TensorDataset(centres[y] + torch.randn(64, 16), y), batch_size=8, shuffle=True)
pool = centres[torch.randint(4, (512,))] + torch.randn(512, 16)
unlabelled = DataLoader(TensorDataset(pool), batch_size=32, drop_last=True)

model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4))
opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def cycle(loader):
    while True:
        yield from loader


# the pool was drawn in random order already
# FIX+: unlabelled_iter = cycle(unlabelled)

model.train()
labelled_iter = cycle(labelled)
for step in range(48):
    xl, yl = next(labelled_iter)
    (xu,) = iter(unlabelled).__next__()  # BUG
    # FIX: (xu,) = next(unlabelled_iter)
    with torch.no_grad():
        prob = F.softmax(model(xu), dim=-1)
        conf, pseudo = prob.max(dim=-1)
    keep = (conf > 0.8).float()
    noisy = xu + 0.3 * torch.randn_like(xu)
    unsup = (F.cross_entropy(model(noisy), pseudo, reduction="none") * keep).mean()
    loss = F.cross_entropy(model(xl), yl) + unsup
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 12 == 0:
        print(step, round(loss.item(), 4), int(keep.sum()))
