import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class GraphConv(nn.Module):
    def __init__(self, d_in, d_out):
        super().__init__()
        self.lin = nn.Linear(d_in, d_out)

    def forward(self, h, adj):
        return adj @ self.lin(h)


class GCN(nn.Module):
    def __init__(self, d_in, hidden, n_classes):
        super().__init__()
        self.conv1, self.conv2 = GraphConv(d_in, hidden), GraphConv(hidden, hidden)
        self.readout = nn.Linear(hidden, n_classes)

    def forward(self, h, adj):
        h = F.relu(self.conv1(h, adj))
        h = F.relu(self.conv2(h, adj))
        return self.readout(h.mean(1))


class Trainer:
    def __init__(self, args):
        self.args = args
        self.model = GCN(5, args.hidden, 2)
        self.params = filter(lambda p: p.requires_grad, self.model.parameters())  # BUG
        # FIX: self.params = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(self.params, lr=args.lr, momentum=0.9)

    def train_epoch(self, loader):
        self.model.train()
        for h, adj, y in loader:
            loss = F.cross_entropy(self.model(h, adj), y)
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.params, self.args.clip)  # BUG
            self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def evaluate(self, h, adj, y):
        self.model.eval()
        return (self.model(h, adj).argmax(1) == y).float().mean().item()


def random_graphs(n, nodes):
    y = torch.randint(2, (n,))
    density = torch.where(y == 1, 0.6, 0.2).view(n, 1, 1)
    upper = (torch.rand(n, nodes, nodes) < density).float().triu(1)
    adj = upper + upper.transpose(1, 2) + torch.eye(nodes)
    degree = adj.sum(-1, keepdim=True)
    h = torch.cat([degree / nodes, torch.randn(n, nodes, 4)], -1)
    return h, adj / degree, y


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--hidden", type=int, default=16)
    ap.add_argument("--lr", type=float, default=0.1)
    ap.add_argument("--clip", type=float, default=0.5)
    ap.add_argument("--epochs", type=int, default=5)
    args = ap.parse_args()
    torch.manual_seed(0)
    h, adj, y = random_graphs(160, 10)
    trainer = Trainer(args)
    loader = DataLoader(TensorDataset(h[:128], adj[:128], y[:128]), 16, shuffle=True)
    for ep in range(args.epochs):
        acc = trainer.train_epoch(loader), trainer.evaluate(h[128:], adj[128:], y[128:])
        print(f"epoch {ep} loss {acc[0]:.3f} acc {acc[1]:.3f}")
