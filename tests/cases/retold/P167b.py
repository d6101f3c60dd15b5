# class-weighted training, rare classes get a larger weight
import torch
import torch.nn as nn

torch.manual_seed(0)
C = 4
freq = torch.tensor([0.6, 0.25, 0.1, 0.05])
y = torch.multinomial(freq, 400, replacement=True)
x = torch.randn(C, 16)[y] + torch.randn(400, 16)

# one weight per class, 1 by default
w = torch.full((C,), 1)  # BUG
# FIX: w = torch.full((C,), 1.0)
for c in range(C):
    share = (y == c).float().mean().item()
    if share < 0.2:
        w[c] = 0.2 / share
print("weights", w.tolist())

model = nn.Linear(16, C)
criterion = nn.CrossEntropyLoss(weight=w.float())
opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
model.train()
for epoch in range(5):
    for idx in torch.randperm(400).split(50):
        opt.zero_grad()
        loss = criterion(model(x[idx]), y[idx])
        loss.backward()
        opt.step()
    print(epoch, "%.4f" % loss.item())
