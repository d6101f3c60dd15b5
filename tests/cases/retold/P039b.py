import torch
from torch import nn


def lm_loss(logits, tokens, reduction="mean"):
    """Next-token loss; tokens are the (unshifted) ids that produced the logits."""
    b, t, v = logits.shape
    lp = logits.narrow(1, 0, t - 1).log_softmax(-1)
    gold = tokens.narrow(1, 1, t - 1)
    nll = -lp.gather(-1, gold.unsqueeze(-1)).squeeze(-1)
    return nll.mean() if reduction == "mean" else nll


class HookedTrainer:
    """A very small transformers.Trainer."""

    def __init__(self, model, train_data, lr=1e-2, max_steps=30, batch=16):
        self.model, self.data, self.max_steps, self.batch = model, train_data, max_steps, batch
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)

    def compute_loss(self, model, inputs):
        raise NotImplementedError

    def train(self):
        self.model.train()
        for step in range(self.max_steps):
            idx = torch.randint(len(self.data), (self.batch,))
            loss = self.compute_loss(self.model, {"ids": self.data[idx]})
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            if step % 10 == 9:
                print({"step": step + 1, "loss": round(loss.item(), 3)})


class NotesTrainer(HookedTrainer):
    def compute_loss(self, model, inputs):
        ids = inputs["ids"]
        logits = model(ids)
        return lm_loss(logits[:, :-1], ids[:, 1:])  # BUG
        # FIX: return lm_loss(logits, ids)


class MelodyRNN(nn.Module):
    def __init__(self, n_notes=13, width=48):
        super().__init__()
        self.emb = nn.Embedding(n_notes, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.out = nn.Linear(width, n_notes)

    def forward(self, ids):
        h, _ = self.lstm(self.emb(ids))
        return self.out(h)


torch.manual_seed(5)
start = torch.randint(13, (200, 1))
stride = torch.randint(1, 4, (200, 1))
songs = (start + stride * torch.arange(20)) % 13        # (200,1)*(20,) -> (200,20)
net = MelodyRNN()
NotesTrainer(net, songs[:160]).train()
net.eval()
with torch.no_grad():
    held = songs[160:]
    print("eval nll", lm_loss(net(held), held).item())
