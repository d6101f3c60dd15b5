"""Train the interaction network to classify random symbols (graphs), as the project's demo_grec_intnet.py does.

fix: 6c0083c8
depth: live 60
expects: TW201
where: program
stands in: rdkit, the data set GREC (random graphs of several sizes)
"""

import numpy as np
import torch
from stand_ins import stand_in
from torch import nn, optim
from torch.utils.data import DataLoader, Dataset

stand_in("rdkit", Chem=stand_in("rdkit.Chem"), RDConfig=stand_in("rdkit.RDConfig"))
from datasets.utils import collate_g
from models.model import NMP_IntNet

NUM_CLASSES = 6


class Symbols(Dataset):
    def __init__(self, count, seed):
        random = np.random.RandomState(seed)
        self.graphs = []
        for index in range(count):
            target, nodes = index % NUM_CLASSES, random.randint(4, 9)
            adjacency = np.triu((random.rand(nodes, nodes) < 0.5).astype(float), 1)
            adjacency[0, 1] = 1
            features = (random.randn(nodes, 2) + 0.3 * target).tolist()
            edges = {(a, b): random.rand(2).tolist() for a, b in zip(*np.nonzero(adjacency))}
            self.graphs.append(((adjacency + adjacency.T, features, edges), [target]))

    def __len__(self):
        return len(self.graphs)

    def __getitem__(self, index):
        return self.graphs[index]


torch.manual_seed(2)
train_loader = DataLoader(Symbols(66, 0), batch_size=20, shuffle=True, collate_fn=collate_g)
test_loader = DataLoader(Symbols(26, 1), batch_size=20, shuffle=False, collate_fn=collate_g)
model = NMP_IntNet([2, 2], [5, 15, 15], [10, 20, 20], NUM_CLASSES, type="classification")
optimizer = optim.Adam(model.parameters(), lr=0.001)
criterion = nn.CrossEntropyLoss()
for epoch in range(3):
    model.train()
    for g, h, e, target in train_loader:
        optimizer.zero_grad()
        train_loss = criterion(model(g, h, e), torch.squeeze(target.long()))
        train_loss.backward()
        optimizer.step()
    model.eval()
    losses, hits = 0.0, 0
    with torch.no_grad():
        for g, h, e, target in test_loader:
            output, target = model(g, h, e), torch.squeeze(target.long())
            losses += criterion(output, target).item() * len(target)
            hits += (output.argmax(1) == target).sum().item()
    print(f"epoch {epoch}: loss {losses / 26:.3f}, accuracy {hits / 26:.3f}")
