"""House prices from a messy listing export."""
import csv
import io
import random

import torch
from torch import nn

COLUMNS = ["area", "rooms", "age", "price"]


def fake_export(n=300, seed=0):
    rnd = random.Random(seed)
    buf = io.StringIO()
    out = csv.writer(buf)
    out.writerow(COLUMNS)
    for _ in range(n):
        area, rooms, age = rnd.uniform(30, 200), rnd.randint(1, 7), rnd.uniform(0, 80)
        price = 2.1 * area + 15 * rooms - 0.8 * age + rnd.gauss(0, 8)
        row = [f"{area:.1f} m2", rooms, f"{age:.0f} years", f"{price:.2f}"]
        if rnd.random() < 0.05:
            row = row[:1] + [""] + row[2:]
        out.writerow(row)
    buf.seek(0)
    return buf


def strip_unit(text, unit):
    return float(text.removesuffix(unit).strip())


def clean(record, fill):
    """Numbers of one listing; missing or unreadable cells (None, '') get the column default."""
    parsers = {
        "area": lambda s: strip_unit(s, "m2"),
        "rooms": float,
        "age": lambda s: strip_unit(s),  # BUG
        # FIX: "age": lambda s: strip_unit(s, "years"),
        "price": float,
    }
    values = []
    for col in COLUMNS:
        try:
            values.append(parsers[col](record.get(col)))
        except (TypeError, ValueError, AttributeError):
            values.append(fill[col])
    return values


def load(handle):
    fill = {"area": 90.0, "rooms": 3.0, "age": 30.0, "price": float("nan")}
    table = torch.tensor([clean(r, fill) for r in csv.DictReader(handle)])
    table = table[~table[:, -1].isnan()]
    return table[:, :-1], table[:, -1]


def main():
    torch.manual_seed(0)
    feats, price = load(fake_export())
    split = 240
    mu, sd = feats[:split].mean(0), feats[:split].std(0) + 1e-6
    feats = (feats - mu) / sd
    p_mu, p_sd = price[:split].mean(), price[:split].std()
    target = (price - p_mu) / p_sd
    net = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 1))
    opt = torch.optim.Adam(net.parameters(), lr=2e-2)
    for epoch in range(15):
        net.train()
        for idx in torch.randperm(split).split(40):
            loss = nn.functional.mse_loss(net(feats[idx]).flatten(), target[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
    net.eval()
    with torch.no_grad():
        pred = net(feats[split:]).flatten() * p_sd + p_mu
    print("test MAE", round((pred - price[split:]).abs().mean().item(), 2))


if __name__ == "__main__":
    main()
