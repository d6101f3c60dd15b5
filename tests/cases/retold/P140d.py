"""Dense graph attention over co-purchase graphs (one adjacency matrix per shop)."""
import torch
import torch.nn as nn
import torch.nn.functional as F


class DenseGAT(nn.Module):
    def __init__(self, cin, cout, slope=0.2, p=0.1):
        super().__init__()
        self.lin = nn.Linear(cin, cout, bias=False)
        self.left = nn.Linear(cout, 1, bias=False)
        self.right = nn.Linear(cout, 1, bias=False)
        self.slope, self.p = slope, p

    def forward(self, x, adj):
        h = self.lin(x)
        # column plus row: the (N, N) table of edge scores is wanted
        e = F.leaky_relu(self.left(h) + self.right(h).mT, self.slope)
        off = torch.full_like(e, -9e15)
        att = torch.where(adj > 0, e, off).softmax(dim=-1)  # BUG
        att = F.dropout(att, self.p, self.training)
        return F.elu(att @ h)


class NodeClassifier(nn.Module):
    def __init__(self, cin, hidden, classes):
        super().__init__()
        self.g1 = DenseGAT(cin, hidden)
        self.g2 = DenseGAT(hidden, hidden)
        self.out = nn.Linear(hidden, classes)

    def forward(self, x, adj):
        return self.out(self.g2(self.g1(x, adj), adj))


def stochastic_blocks(n, k, gen):
    y = torch.randint(k, (n,), generator=gen)
    same = y[:, None] == y[None, :]
    prob = torch.where(same, 0.25, 0.02)
    upper = torch.triu(torch.rand(n, n, generator=gen) < prob, diagonal=1)
    adj = upper | upper.T
    new = torch.randperm(n, generator=gen)[: n // 6]  # new products have no sales yet
    adj[new] = False
    adj[:, new] = False
    x = F.one_hot(y, k).float() + 0.9 * torch.randn(n, k, generator=gen)
    return x, adj, y


def build_graph(n, k, gen):
    x, adj, y = stochastic_blocks(n, k, gen)
    adj = adj.float()  # BUG
    # FIX: adj = adj.float().fill_diagonal_(1.0)
    return x, adj, y


gen = torch.Generator().manual_seed(0)
torch.manual_seed(0)
x, adj, y = build_graph(150, 4, gen)
train_nodes = torch.rand(150, generator=gen) < 0.6
net = NodeClassifier(4, 16, 4)
opt = torch.optim.Adam(net.parameters(), lr=1e-2, weight_decay=5e-4)
for epoch in range(40):
    net.train()
    loss = F.cross_entropy(net(x, adj)[train_nodes], y[train_nodes])
    opt.zero_grad()
    loss.backward()
    opt.step()
    if epoch % 13 == 0:
        net.eval()
        with torch.no_grad():
            hit = net(x, adj).argmax(1) == y
        print(f"epoch {epoch} loss {loss.item():.3f} test {hit[~train_nodes].float().mean().item():.3f}")
