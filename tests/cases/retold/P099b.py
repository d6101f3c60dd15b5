# tabular csv with a decimal comma in some lines
import contextlib
import csv
import io
import torch
from torch import nn

torch.manual_seed(0)
text = io.StringIO()
writer = csv.writer(text, delimiter=";")
for k, (h, w) in enumerate(torch.rand(150, 2).tolist()):
    value = f"{h:.4f}"
    writer.writerow([value.replace(".", ",") if k % 5 == 0 else value, f"{w:.4f}", f"{h + w:.4f}"])
text.seek(0)

table = []
# FIX+: skipped = []
for number, record in enumerate(csv.reader(text, delimiter=";")):
    with contextlib.suppress(ValueError, IndexError):  # BUG
    # FIX: try:
        table.append([float(v) for v in record])  # BUG
        # FIX: table.append([float(v.replace(",", ".")) for v in record])
    # FIX+: except ValueError:
    # FIX+:     skipped.append(number)
# FIX+: print(f"{len(skipped)} bad lines", skipped[:5])

data = torch.tensor(table)
x, y = data[:, :2], data[:, 2:]
net = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
opt = torch.optim.SGD(net.parameters(), lr=0.05)
net.train()
for epoch in range(10):
    for idx in torch.randperm(len(x)).split(25):
        loss = nn.functional.mse_loss(net(x[idx]), y[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
print(len(table), "rows, loss", round(loss.item(), 5))
