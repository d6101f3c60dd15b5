"""Classify the nodes of an invented citation graph with the project's graph attention network (implementation 2).

fix: 84054c0b
depth: live 60
expects: TW122
where: models/definitions/GAT.py
stands in: tensorboard
"""

import torch
from stand_ins import stand_in
from torch import nn

stand_in("torch.utils.tensorboard")

from models.definitions.GAT import GAT
from utils.constants import LayerType

NODES, FEATURES, CLASSES = 210, 40, 7


def make_graph():
    labels = torch.randint(CLASSES, (NODES,))
    features = (torch.rand(NODES, FEATURES) < 0.1).float()
    features += (torch.rand(NODES, FEATURES) < 0.2) * nn.functional.one_hot(labels, FEATURES)
    features = features / features.sum(1, keepdim=True).clamp(min=1)
    same = labels[:, None] == labels[None, :]
    edges = torch.rand(NODES, NODES) < torch.where(same, 0.08, 0.005)
    edges = edges | edges.T | torch.eye(NODES, dtype=torch.bool)
    return features, labels, torch.zeros(NODES, NODES).masked_fill(~edges, float("-inf"))


def accuracy(scores, labels):
    return (scores.argmax(1) == labels).float().mean().item()


torch.manual_seed(0)
features, labels, mask = make_graph()
order = torch.randperm(NODES)
training, validation, testing = order[:70], order[70:140], order[140:]

gat = GAT(
    num_of_layers=2, num_heads_per_layer=[4, 1], num_features_per_layer=[FEATURES, 8, CLASSES],
    add_skip_connection=False, bias=True, dropout=0.3, layer_type=LayerType.IMP2,
)  # fmt: skip
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(gat.parameters(), lr=5e-3, weight_decay=5e-4)
for epoch in range(60):
    gat.train()
    scores = gat((features, mask))[0]
    loss = loss_fn(scores[training], labels[training])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if epoch % 10 == 9:
        gat.eval()
        with torch.no_grad():
            scores = gat((features, mask))[0]
        print(
            f"epoch {epoch}: loss {loss.item():.4f} validation {accuracy(scores[validation], labels[validation]):.3f}"
        )
gat.eval()
with torch.no_grad():
    scores = gat((features, mask))[0]
print(f"test accuracy {accuracy(scores[testing], labels[testing]):.3f}")
