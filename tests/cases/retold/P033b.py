# notebook: classify wines from 13 measurements
import torch
import torch.nn.functional as F

torch.manual_seed(1)
centers = torch.randn(3, 13)
labels = torch.randint(0, 3, (180,))
data = centers[labels] + 0.7 * torch.randn(180, 13)
train_x, test_x = data[:140], data[140:]
train_y, test_y = labels[:140], labels[140:]
mean, std = train_x.mean(dim=0), train_x.std(dim=0)
train_x, test_x = (train_x - mean) / std, (test_x - mean) / std

net = torch.nn.Sequential(torch.nn.Linear(13, 24), torch.nn.Tanh(), torch.nn.Dropout(0.1),
                          torch.nn.Linear(24, 3))
optim = torch.optim.AdamW(net.parameters(), lr=0.01)

history = []
for step in range(60):
    net.train()
    pick = torch.randint(0, 140, (32,))
    xb, yb = train_x[pick], train_y[pick]
    scores = net(xb)
    yb = yb.unsqueeze(1).expand_as(scores).to(scores.dtype)  # BUG
    # FIX:
    batch_loss = F.cross_entropy(scores, yb)  # BUG
    optim.zero_grad()
    batch_loss.backward()
    optim.step()
    history.append(batch_loss.item())

net.eval()
with torch.no_grad():
    hit = (net(test_x).argmax(dim=1) == test_y).float().mean()
print("last losses", [round(v, 3) for v in history[-3:]], "test accuracy", round(hit.item(), 3))
