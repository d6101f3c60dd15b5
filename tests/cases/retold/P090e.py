# Iris-like flower measurements, plain numpy batching (old tutorial style)
import numpy as np
import torch
import torch.nn as nn

SEED = 7
rng = np.random.default_rng(SEED)
torch.manual_seed(SEED)

species = ["setosa", "versicolor", "virginica", "pumila"]
n_per_species = 120
n_train = 96
batch_size = 24
epochs = 6
lr = 0.05

# one table per species, as they are read from the per-species files
train_parts, test_parts = [], []
for k, name in enumerate(species):
    centre = rng.normal(0.0, 1.5, size=(1, 5))
    table = centre + rng.normal(0.0, 1.0, size=(n_per_species, 5))
    labels = np.full(n_per_species, k)
    train_parts.append((table[:n_train], labels[:n_train]))
    test_parts.append((table[n_train:], labels[n_train:]))

X = np.concatenate([t for t, _ in train_parts]).astype(np.float32)
Y = np.concatenate([l for _, l in train_parts]).astype(np.int64)
X_test = np.concatenate([t for t, _ in test_parts]).astype(np.float32)
Y_test = np.concatenate([l for _, l in test_parts]).astype(np.int64)

mu, sd = X.mean(axis=0, keepdims=True), X.std(axis=0, keepdims=True)
X, X_test = (X - mu) / sd, (X_test - mu) / sd

model = nn.Sequential(
    nn.Linear(5, 32),
    nn.BatchNorm1d(32),
    nn.ReLU(),
    nn.Linear(32, len(species)),
)
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)


def batches(features, targets, index):
    for start in range(0, len(index), batch_size):
        pick = index[start:start + batch_size]
        yield torch.from_numpy(features[pick]), torch.from_numpy(targets[pick])


def accuracy(features, targets):
    model.eval()
    correct = 0
    with torch.no_grad():
        for xb, yb in batches(features, targets, np.arange(len(targets))):
            correct += (model(xb).argmax(dim=1) == yb).sum().item()
    return correct / len(targets)


for epoch in range(epochs):
    model.train()
    total = 0.0
    order = np.arange(len(X))  # BUG
    # FIX: order = rng.permutation(len(X))
    for xb, yb in batches(X, Y, order):  # BUG
        optimizer.zero_grad()
        loss = loss_fn(model(xb), yb)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(yb)
    print("epoch", epoch, "loss %.4f" % (total / len(X)), "test acc %.3f" % accuracy(X_test, Y_test))
