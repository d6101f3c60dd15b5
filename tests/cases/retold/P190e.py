"""Next-item recommendation with a full softmax over the catalogue."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

OPTS = {"items": 1000, "dim": 64, "history": 8, "batch": 64, "epochs": 4, "lr": 1e-2, "topk": 10}


class DotScorer(nn.Module):
    """Scores every query against every candidate: (B, D), (I, D) -> (B, I)."""

    def __init__(self, n_candidates):
        super().__init__()
        self.popularity = nn.Parameter(torch.zeros(n_candidates))

    def forward(self, query, candidates):
        agreement = torch.mul(query.unsqueeze(1), candidates.unsqueeze(0))  # BUG
        # FIX: agreement = query @ candidates.t()
        return agreement.sum(dim=-1) + self.popularity  # BUG
        # FIX: return agreement + self.popularity


class HistoryModel(nn.Module):
    def __init__(self, opts):
        super().__init__()
        self.pad = opts["items"]
        self.items = nn.Embedding(opts["items"] + 1, opts["dim"], padding_idx=self.pad)
        nn.init.normal_(self.items.weight, std=opts["dim"] ** -0.5)
        with torch.no_grad():
            self.items.weight[self.pad].zero_()
        self.mix = nn.Sequential(nn.Linear(opts["dim"], opts["dim"]), nn.Tanh(), nn.Dropout(0.1))
        self.scorer = DotScorer(opts["items"])

    def forward(self, history):
        known = history.ne(self.pad).unsqueeze(-1)
        total = (self.items(history) * known).sum(dim=1)
        mean = total / known.sum(dim=1).clamp(min=1)
        user = mean + self.mix(mean)
        return self.scorer(user, self.items.weight[:self.pad])


def synth_sessions(n, opts):
    """Sessions stay inside one of 20 genres; short ones are padded on the left."""
    per_genre = opts["items"] // 20
    genre = torch.randint(20, (n, 1))
    clicks = genre * per_genre + torch.randint(per_genre, (n, opts["history"] + 1))
    history, target = clicks[:, :-1].clone(), clicks[:, -1]
    length = torch.randint(3, opts["history"] + 1, (n, 1))
    slot = torch.arange(opts["history"], 0, -1).unsqueeze(0)
    history[slot > length] = opts["items"]
    return TensorDataset(history, target)


def hit_rate(model, loader, k):
    model.eval()
    hits = 0
    with torch.no_grad():
        for history, target in loader:
            top = model(history).topk(k, dim=-1).indices
            hits += (top == target.unsqueeze(-1)).any(dim=-1).sum().item()
    return hits / len(loader.dataset)


def main(opts):
    torch.manual_seed(17)
    train = DataLoader(synth_sessions(640, opts), batch_size=opts["batch"], shuffle=True)
    held = DataLoader(synth_sessions(128, opts), batch_size=opts["batch"])
    model = HistoryModel(opts)
    opt = torch.optim.Adam(model.parameters(), lr=opts["lr"])
    for epoch in range(opts["epochs"]):
        model.train()
        running = 0.0
        for history, target in train:
            loss = F.cross_entropy(model(history), target)
            opt.zero_grad()
            loss.backward()
            opt.step()
            running += loss.item()
        print(f"epoch {epoch}: loss {running / len(train):.3f}  hit@{opts['topk']} "
              f"{hit_rate(model, held, opts['topk']):.3f}")


if __name__ == "__main__":
    main(OPTS)
