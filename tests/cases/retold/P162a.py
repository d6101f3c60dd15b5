"""Graph neural network, node classification on a random graph."""
import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F


class SumConv(nn.Module):
    """h_v = W_self x_v + sum over edges (u -> v) of W x_u"""

    def __init__(self, cin, cout):
        super().__init__()
        self.lin = nn.Linear(cin, cout, bias=False)
        self.lin_self = nn.Linear(cin, cout)

    def aggregate(self, messages, dst, num_nodes):
        out = messages.new_zeros(num_nodes, messages.size(1))
        return out.index_copy(0, dst, messages)  # BUG
        # FIX: return out.index_add(0, dst, messages)

    def forward(self, x, edge_index):
        src, dst = edge_index
        messages = self.lin(x).index_select(0, src)
        return self.lin_self(x) + self.aggregate(messages, dst, x.size(0))


class GNN(nn.Module):
    def __init__(self, in_dim, hidden, classes):
        super().__init__()
        self.conv1 = SumConv(in_dim, hidden)
        self.conv2 = SumConv(hidden, classes)
        self.drop = nn.Dropout(0.2)

    def forward(self, x, edge_index):
        return self.conv2(self.drop(F.relu(self.conv1(x, edge_index))), edge_index)


def random_graph(n, avg_degree, dim):
    edge_index = torch.randint(n, (2, n * avg_degree))
    x = torch.randn(n, dim)
    y = (x[:, 0] > 0).long()
    return x, y, edge_index


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--nodes", type=int, default=200)
    ap.add_argument("--hidden", type=int, default=32)
    ap.add_argument("--epochs", type=int, default=15)
    args = ap.parse_args()
    torch.manual_seed(0)
    x, y, ei = random_graph(args.nodes, 5, 16)
    train_mask = torch.zeros(args.nodes, dtype=torch.bool)
    train_mask[torch.randperm(args.nodes)[: args.nodes // 2]] = True
    model = GNN(16, args.hidden, 2)
    opt = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=5e-4)
    for epoch in range(args.epochs):
        model.train()
        loss = F.cross_entropy(model(x, ei)[train_mask], y[train_mask])
        opt.zero_grad()
        loss.backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        acc = (model(x, ei)[~train_mask].argmax(1) == y[~train_mask]).float().mean()
    print(f"loss {loss.item():.4f} acc {acc.item():.3f}")


if __name__ == "__main__":
    main()
