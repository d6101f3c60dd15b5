"""Classify small graphs by their shape with eigenvector position features from the project and a graph network.

fix: d685eb6f
depth: live 60
expects: -
where: program
stands in: dgl (its graph, as far as the features use it), matplotlib
"""

import numpy as np
import scipy.sparse as sparse
import torch
from stand_ins import stand_in
from torch import nn
from torch.utils.data import DataLoader

stand_in("dgl", backend=stand_in("dgl.backend", asnumpy=lambda tensor: tensor.numpy()))
stand_in("matplotlib.pyplot")

import data_util

NODES, FEATURES = 24, 8


class Graph:
    def __init__(self, adjacency):
        self.adjacency = adjacency
        self.ndata = {}

    def number_of_nodes(self):
        return self.adjacency.shape[0]

    def adjacency_matrix_scipy(self, transpose, return_edge_ids):
        return sparse.csr_matrix(self.adjacency)

    def in_degrees(self):
        return torch.tensor(self.adjacency.sum(0))


def make_graphs(count):
    graphs = []
    for index in range(count):
        label = index % 2
        adjacency = np.zeros((NODES, NODES), dtype=np.int64)
        for node in range(NODES):
            adjacency[node, (node + 1) % NODES] = 1
            other = (node + np.random.randint(2, 5)) % NODES if label else np.random.randint(NODES)
            if other != node:
                adjacency[node, other] = 1
        graph = data_util._add_undirected_graph_positional_embedding(Graph(adjacency | adjacency.T), FEATURES)
        graphs.append((torch.tensor(graph.adjacency, dtype=torch.float32), graph.ndata["pos_undirected"], label))
    return graphs


class Network(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.first, self.second = nn.Linear(FEATURES, hidden), nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, 2)

    def forward(self, adjacency, x):
        degrees = adjacency.sum(-1, keepdim=True)
        for layer in (self.first, self.second):
            x = torch.relu(layer(x + adjacency @ x / degrees))
        return self.out(x.amax(1))


np.random.seed(0)
torch.manual_seed(0)
training = DataLoader(make_graphs(120), batch_size=20, shuffle=True)
validation = DataLoader(make_graphs(60), batch_size=20)
model = Network()
optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
for epoch in range(6):
    model.train()
    for adjacency, features, labels in training:
        loss = nn.functional.cross_entropy(model(adjacency, features), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = sum((model(a, x).argmax(1) == labels).sum().item() for a, x, labels in validation)
    print(f"epoch {epoch}: loss {loss.item():.5f} right {right} of {len(validation.dataset)}")
