"""Train a small classifier whose hidden layer is the project's mixture of experts, with experts of one's own.

fix: 8f67b530
depth: live 60
expects: TW303
where: fmoe/layers.py
stands in: fmoe_cuda, the compiled kernels (scatter and gather on one worker)
"""

import torch
from stand_ins import stand_in
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def local_scatter(inputs, positions):
    return (inputs[positions],)


def local_gather(outputs, positions):
    gathered = torch.empty_like(outputs)
    gathered[positions] = outputs
    return (gathered,)


stand_in("fmoe_cuda", local_scatter=local_scatter, local_gather=local_gather)
from fmoe import FMoE


class Expert(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(d_model, d_model * 2), nn.ReLU(), nn.Linear(d_model * 2, d_model))

    def forward(self, x):
        return self.model(x)


class Classifier(nn.Module):
    def __init__(self, d_in, d_model, classes):
        super().__init__()
        self.inner = nn.Linear(d_in, d_model)
        self.moe = FMoE(num_expert=4, d_model=d_model, top_k=2, expert=Expert)
        self.norm = nn.LayerNorm(d_model)
        self.outer = nn.Linear(d_model, classes)

    def forward(self, x):
        x = self.inner(x)
        return self.outer(self.norm(x + self.moe(x)))


torch.manual_seed(0)
train = TensorDataset(torch.randn(200, 10), torch.randint(0, 5, (200,)))
valid = TensorDataset(torch.randn(70, 10), torch.randint(0, 5, (70,)))
model = Classifier(10, 16, 5)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss()
for epoch in range(3):
    model.train()
    for inputs, targets in DataLoader(train, batch_size=32, shuffle=True):
        loss = criterion(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        hits = sum((model(x).argmax(1) == y).sum().item() for x, y in DataLoader(valid, batch_size=32))
    print(f"epoch {epoch}: loss {loss.item():.3f}, accuracy {hits / len(valid):.3f}")
torch.save(model.state_dict(), "classifier.pt")
