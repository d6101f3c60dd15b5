# attention pooling over patient visits (tabular sequence), script
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(17)


class VisitPooling(nn.Module):
    def __init__(self, d, p):
        super().__init__()
        self.score = nn.Linear(d, 1)
        self.val = nn.Linear(d, d)
        self.in_drop = nn.Dropout(p)
        self.drop = lambda a: F.dropout(a, p=p)  # BUG
        # FIX: self.drop = lambda a: F.dropout(a, p=p, training=self.training)

    def forward(self, x, n_visits):
        x = self.in_drop(x)
        pad = torch.arange(x.size(1)) >= n_visits.unsqueeze(1)
        a = self.score(x).squeeze(-1).masked_fill(pad, float("-inf"))
        a = self.drop(a.softmax(dim=1))
        return torch.einsum("bn,bnd->bd", a, self.val(x))


visits = torch.randn(240, 10, 16)
n = torch.randint(1, 11, (240,))
label = (visits[:, 0, 0] > 0).float()

pool, out = VisitPooling(16, 0.3), nn.Linear(16, 1)
params = list(pool.parameters()) + list(out.parameters())
opt = torch.optim.Adam(params, lr=5e-3)
for epoch in range(4):
    pool.train()
    out.train()
    for idx in torch.randperm(200).split(40):
        opt.zero_grad()
        logit = out(pool(visits[idx], n[idx])).squeeze(1)
        loss = F.binary_cross_entropy_with_logits(logit, label[idx])
        loss.backward()
        opt.step()

pool.eval()
out.eval()
with torch.no_grad():
    risk = out(pool(visits[200:], n[200:])).sigmoid()
print("loss", loss.item(), "first risks", risk[:4, 0].tolist())
