"""Graph convolutional network (Kipf & Welling 2017) with a sparse adjacency matrix."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--nodes", type=int, default=20_000)
parser.add_argument("--degree", type=int, default=16)
parser.add_argument("--features", type=int, default=500)
parser.add_argument("--hidden", type=int, default=256)
parser.add_argument("--epochs", type=int, default=100)
args = parser.parse_args()
args.cuda = torch.cuda.is_available()
torch.manual_seed(42)


def normalized_adjacency(nodes, degree):
    rows = torch.arange(nodes).repeat_interleave(degree)
    columns = torch.randint(0, nodes, (nodes * degree,))
    loops = torch.arange(nodes)
    indices = torch.stack([torch.cat([rows, columns, loops]), torch.cat([columns, rows, loops])])
    ones = torch.ones(indices.shape[1])
    counts = torch.zeros(nodes).index_add_(0, indices[0], ones)
    values = counts.rsqrt()[indices[0]] * counts.rsqrt()[indices[1]]
    return torch.sparse_coo_tensor(indices, values, (nodes, nodes))


class GraphConvolution(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(i, o))
        self.bias = nn.Parameter(torch.zeros(o))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x, adjacency):
        return torch.sparse.mm(adjacency, x @ self.weight) + self.bias


class GCN(nn.Module):
    def __init__(self, features, hidden, classes):
        super().__init__()
        self.gc1, self.gc2 = GraphConvolution(features, hidden), GraphConvolution(hidden, classes)

    def forward(self, x, adjacency):
        x = F.dropout(F.relu(self.gc1(x, adjacency)), 0.5, training=self.training)
        return F.log_softmax(self.gc2(x, adjacency), dim=1)


adjacency = normalized_adjacency(args.nodes, args.degree)
features, labels = torch.rand(args.nodes, args.features), torch.randint(0, 7, (args.nodes,))
idx_train, idx_val = torch.arange(args.nodes // 10), torch.arange(args.nodes // 10, args.nodes // 5)
model = GCN(args.features, args.hidden, 7)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
if args.cuda:
    model.cuda()
    features, adjacency, labels = features.cuda(), adjacency.cuda(), labels.cuda()
    idx_train, idx_val = idx_train.cuda(), idx_val.cuda()

for epoch in range(args.epochs):
    model.train()
    optimizer.zero_grad()
    output = model(features, adjacency)
    loss_train = F.nll_loss(output[idx_train], labels[idx_train])
    loss_train.backward()
    optimizer.step()
    model.eval()
    with torch.no_grad():
        output = model(features, adjacency)
        acc_val = (output[idx_val].max(1)[1] == labels[idx_val]).double().mean()
    print(f"Epoch {epoch:04d} loss_train {loss_train.item():.4f} acc_val {acc_val.item():.4f}")
