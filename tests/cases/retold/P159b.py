# char-level LSTM, old tutorial style
import torch
import torch.nn as nn

torch.manual_seed(0)
use_cuda = torch.cuda.is_available()
text = "the quick brown fox jumps over the lazy dog. " * 40
chars = sorted(set(text))
stoi = {c: i for i, c in enumerate(chars)}
codes = torch.tensor([stoi[c] for c in text])
if use_cuda:
    codes = codes.cuda()      # once, before training


class CharRNN(nn.Module):
    def __init__(self, n_chars, hidden=64):
        super(CharRNN, self).__init__()
        self.hidden = hidden
        self.emb = nn.Embedding(n_chars, hidden)
        self.lstm = nn.LSTM(hidden, hidden)
        self.fc = nn.Linear(hidden, n_chars)

    def init_hidden(self, batch):
        h = torch.zeros(1, batch, self.hidden)  # BUG
        # FIX: h = torch.zeros(1, batch, self.hidden, device=self.fc.weight.device)
        c = torch.zeros(1, batch, self.hidden)  # BUG
        # FIX: c = torch.zeros(1, batch, self.hidden, device=self.fc.weight.device)
        return (h.cuda(), c.cuda()) if use_cuda else (h, c)  # BUG
        # FIX: return h, c

    def forward(self, x, state):
        y, state = self.lstm(self.emb(x), state)
        return self.fc(y), state


net = CharRNN(len(chars))
if use_cuda:
    net.cuda()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
T, B = 20, 8
net.train()
for it in range(1, 31):
    start = torch.randint(0, len(codes) - T - 1, (B,)).tolist()
    x = torch.stack([codes[s:s + T] for s in start], dim=1)
    y = torch.stack([codes[s + 1:s + T + 1] for s in start], dim=1)
    out, _ = net(x, net.init_hidden(B))
    loss = criterion(out.reshape(-1, len(chars)), y.reshape(-1))
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    if it % 10 == 0:
        print("iter %d loss %.3f" % (it, loss.item()))
