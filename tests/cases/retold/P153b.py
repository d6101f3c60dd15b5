# transfer-learning tutorial style: one loop for both phases
import torch
import torch.nn as nn
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def blobs(n):
    y = torch.randint(0, 2, (n,))
    x = torch.randn(n, 3, 12, 12)
    x[y == 1, :, 3:9, 3:9] += 0.7
    return TensorDataset(x, y)


datasets = {"train": blobs(128), "val": blobs(64)}
loaders = {p: DataLoader(d, batch_size=16, shuffle=p == "train") for p, d in datasets.items()}

backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
head = nn.Sequential(nn.Linear(32, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
model = nn.Sequential(backbone, head).to(device)
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)

for epoch in range(4):
    for phase in ["train", "val"]:
        model.train(phase == "train")
        running_loss, running_corrects = 0.0, 0
        for inputs, labels in loaders[phase]:
            inputs, labels = inputs.to(device), labels.to(device)
            optimizer.zero_grad()
            outputs = model(inputs)  # BUG
            # FIX: with torch.set_grad_enabled(phase == "train"):
            # FIX:     outputs = model(inputs)
            loss = criterion(outputs, labels)
            if phase == "train":
                loss.backward()
                optimizer.step()
            running_loss += loss.item() * inputs.size(0)
            running_corrects += (outputs.argmax(1) == labels).sum().item()
        if phase == "train":
            scheduler.step()
        size = len(datasets[phase])
        print(f"{epoch} {phase} loss {running_loss / size:.4f} acc {running_corrects / size:.3f}")
