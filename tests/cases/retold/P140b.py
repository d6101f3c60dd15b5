# graph attention on a small citation-like graph with a dense adjacency matrix
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(4)
N, DIN, C = 120, 10, 3
label = torch.randint(0, C, (N,))
feat = F.one_hot(label, DIN).float() + 0.7 * torch.randn(N, DIN)
same = label[:, None] == label[None, :]
prob = torch.where(same, 0.03, 0.005)
adj = torch.rand(N, N) < prob
adj = adj | adj.t()
adj.fill_diagonal_(False)
train_idx = torch.randperm(N)[:80]
test_mask = torch.ones(N, dtype=torch.bool)
test_mask[train_idx] = False
print("edges", int(adj.sum()) // 2, "isolated nodes", int((~adj.any(1)).sum()))


class GATLayer(nn.Module):
    def __init__(self, din, dout):
        super().__init__()
        self.lin = nn.Linear(din, dout, bias=False)
        self.src = nn.Linear(dout, 1, bias=False)
        self.dst = nn.Linear(dout, 1, bias=False)

    def forward(self, x, adj):
        h = self.lin(x)
        e = F.leaky_relu(self.src(h) + self.dst(h).t(), 0.2)
        e = torch.where(adj, e, float("-inf"))
        alpha = torch.softmax(e, dim=1)  # BUG
        # FIX: isolated = ~adj.any(dim=1, keepdim=True)
        # FIX: alpha = torch.softmax(e.masked_fill(isolated, 0.0), dim=1).masked_fill(isolated, 0.0)
        return h + alpha @ h


class GAT(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1, self.l2 = GATLayer(DIN, 16), GATLayer(16, C)

    def forward(self, x, adj):
        return self.l2(F.elu(self.l1(x, adj)), adj)


net = GAT()
opt = torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=5e-4)
for epoch in range(40):
    net.train()
    opt.zero_grad()
    out = net(feat, adj)
    loss = F.cross_entropy(out[train_idx], label[train_idx])
    loss.backward()
    opt.step()
net.eval()
with torch.no_grad():
    pred = net(feat, adj).argmax(1)
print(f"loss {loss.item():.4f} test acc {(pred[test_mask] == label[test_mask]).float().mean().item():.3f}")
