# k-fold cross validation with csv curves
import csv
import pathlib
import tempfile

import torch
import torch.nn as nn

torch.manual_seed(3)
X = torch.randn(240, 16)
Y = (X[:, 0] * X[:, 1] > 0).long()
folds = torch.randperm(240).chunk(3)
tmp = tempfile.TemporaryDirectory()
logs = pathlib.Path(tmp.name) / "logs"


class CSVLogger:
    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.fh = open(folder / "metrics.csv", "a", newline="")
        self.w = csv.writer(self.fh)

    def log(self, epoch, loss, acc):
        self.w.writerow([epoch, f"{loss:.5f}", f"{acc:.4f}"])
        self.fh.flush()


loggers = [CSVLogger(logs / "cv") for _ in folds]  # BUG
# FIX: loggers = [CSVLogger(logs / f"cv_fold{k}") for k in range(len(folds))]
models = [nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 2)) for _ in folds]
opts = [torch.optim.Adam(m.parameters(), lr=1e-2) for m in models]

for epoch in range(4):
    for k, val_idx in enumerate(folds):
        train_idx = torch.cat([f for j, f in enumerate(folds) if j != k])
        model, opt = models[k], opts[k]
        model.train()
        for b in train_idx[torch.randperm(len(train_idx))].split(40):
            opt.zero_grad()
            loss = nn.functional.cross_entropy(model(X[b]), Y[b])
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            acc = (model(X[val_idx]).argmax(1) == Y[val_idx]).float().mean()
        loggers[k].log(epoch, loss.item(), acc.item())

for lg in loggers:
    lg.fh.close()
for f in sorted(logs.rglob("*.csv")):
    print(f.parent.name, len(f.read_text().splitlines()), "rows")
tmp.cleanup()
