# char-level language model, functional style; learning rate scaled by the batch size
import functools
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(5)
TEXT = ("the quick brown fox jumps over the lazy dog. " * 20)
chars = sorted(set(TEXT))
stoi = {c: i for i, c in enumerate(chars)}
ids = torch.tensor([stoi[c] for c in TEXT])
BASE_LR, BASE_BATCH = 1e-3, 32


def scaled_lr(batch_size, base=BASE_LR):
    return base * batch_size  # BUG
    # FIX: return base * batch_size / BASE_BATCH


def get_batch(batch_size, block=16):
    start = torch.randint(0, len(ids) - block - 1, (batch_size,))
    window = start[:, None] + torch.arange(block + 1)
    seq = ids[window]
    return seq[:, :-1], seq[:, 1:]


class CharLM(nn.Module):
    def __init__(self, n, d=48):
        super().__init__()
        self.emb = nn.Embedding(n, d)
        self.lstm = nn.LSTM(d, d, batch_first=True)
        self.out = nn.Linear(d, n)

    def forward(self, x):
        return self.out(self.lstm(self.emb(x))[0])


def train(model, make_optimizer, steps, batch_size):
    opt = make_optimizer(model.parameters(), lr=scaled_lr(batch_size))
    model.train()
    trace = []
    for _ in range(steps):
        x, y = get_batch(batch_size)
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        opt.zero_grad()
        loss.backward()
        # FIX+: nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        trace.append(loss.item())
    return trace


if __name__ == "__main__":
    adamw = functools.partial(torch.optim.AdamW, betas=(0.9, 0.95), weight_decay=0.01)
    trace = train(CharLM(len(chars)), adamw, steps=30, batch_size=128)
    print("loss", " ".join(f"{v:.2f}" for v in trace[::5]))
