# tiny frame-wise decoder: token 0 = <stop>, 1..6 = phones, 7 = <pad>
from functools import partial
import torch
import torch.nn.functional as F

STOP, N_PHONES, PAD = 0, 6, 7
options = {"hidden": 24, "lr": 1e-2, "steps": 40, "skip_index": 0}  # BUG
# FIX: options = {"hidden": 24, "lr": 1e-2, "steps": 40, "skip_index": PAD}
seq_loss = partial(F.cross_entropy, ignore_index=options["skip_index"])  # BUG


def sample(n, gen):
    frames, tokens = torch.zeros(n, 10, 8), torch.full((n, 10), PAD)
    for i in range(n):
        k = int(torch.randint(3, 9, (1,), generator=gen))
        ph = torch.randint(1, N_PHONES + 1, (k,), generator=gen)
        tokens[i, :k] = ph
        tokens[i, k] = STOP
        frames[i, : k + 1] = F.one_hot(tokens[i, : k + 1], 8).float()
    frames = frames + 0.1 * torch.randn(frames.shape, generator=gen)
    return frames, tokens


class Decoder(torch.nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.rnn = torch.nn.GRU(8, hidden, batch_first=True)
        self.proj = torch.nn.Linear(hidden, 8)

    def forward(self, x):
        return self.proj(self.rnn(x)[0])


torch.manual_seed(0)
gen = torch.Generator().manual_seed(0)
dec = Decoder(options["hidden"])
opt = torch.optim.Adam(dec.parameters(), lr=options["lr"])
for it in range(options["steps"]):
    dec.train()
    frames, tokens = sample(16, gen)
    opt.zero_grad()
    loss = seq_loss(dec(frames).transpose(1, 2), tokens)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(dec.parameters(), 1.0)
    opt.step()
    if it % 10 == 9:
        print(it, round(loss.item(), 3))

dec.eval()
with torch.no_grad():
    frames, tokens = sample(32, gen)
    pred = dec(frames).argmax(-1)
    at_stop = tokens == STOP
print("stop recall", (pred[at_stop] == STOP).float().mean().item())
