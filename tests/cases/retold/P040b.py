# char-rnn, old tutorial style
import random
import torch
import torch.nn as nn
from torch.autograd import Variable

random.seed(0)
torch.manual_seed(0)
text = "the quick brown fox jumps over the lazy dog. " * 40
chars = sorted(set(text))
n_characters = len(chars)
chunk_len = 30
hidden_size = 64


def char_tensor(string):
    return torch.tensor([chars.index(c) for c in string], dtype=torch.long)


def random_training_set():
    start = random.randint(0, len(text) - chunk_len - 2)
    chunk = char_tensor(text[start:start + chunk_len + 1])
    inp = chunk[:chunk_len]
    target = chunk[:chunk_len]  # BUG
    # FIX: target = chunk[1:]
    return Variable(inp), Variable(target)


class RNN(nn.Module):
    def __init__(self, size, hidden):
        super(RNN, self).__init__()
        self.hidden = hidden
        self.encoder = nn.Embedding(size, hidden)
        self.gru = nn.GRU(hidden, hidden)
        self.decoder = nn.Linear(hidden, size)

    def forward(self, c, h):
        out, h = self.gru(self.encoder(c).view(1, 1, -1), h)
        return self.decoder(out.view(1, -1)), h

    def init_hidden(self):
        return Variable(torch.zeros(1, 1, self.hidden))


decoder = RNN(n_characters, hidden_size)
optimizer = torch.optim.Adam(decoder.parameters(), lr=0.005)
criterion = nn.CrossEntropyLoss()

for epoch in range(1, 31):
    inp, target = random_training_set()
    decoder.train()
    hidden = decoder.init_hidden()
    decoder.zero_grad()
    loss = 0
    for c in range(chunk_len):
        output, hidden = decoder(inp[c], hidden)
        loss += criterion(output, target[c].view(1))
    loss.backward()
    optimizer.step()
    if epoch % 10 == 0:
        print("[%d %.4f]" % (epoch, loss.item() / chunk_len))

decoder.eval()
with torch.no_grad():
    h, c, out = decoder.init_hidden(), char_tensor("t")[0], "t"
    for _ in range(20):
        o, h = decoder(c, h)
        c = o.argmax()
        out += chars[c.item()]
print(repr(out))
