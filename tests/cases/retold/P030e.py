# Spoken digit classifier, 1d convolutions over mel frames
import torch
import torch.nn as nn
import torch.optim as optim

torch.manual_seed(1234)

N_MELS = 20
N_FRAMES = 50
N_DIGITS = 5

# ---- data -----------------------------------------------------------------
templates = torch.randn(N_DIGITS, N_MELS, 1)


def synth(n):
    y = torch.randint(N_DIGITS, (n,))
    envelope = torch.hann_window(N_FRAMES).view(1, 1, -1)
    x = templates[y] * envelope + 0.8 * torch.randn(n, N_MELS, N_FRAMES)
    return x, y


x_train, y_train = synth(320)
x_test, y_test = synth(100)

# normalise with training statistics, per mel band
mean = x_train.mean(dim=(0, 2), keepdim=True)
std = x_train.std(dim=(0, 2), keepdim=True)
x_train = (x_train - mean) / std
x_test = (x_test - mean) / std


# ---- model ----------------------------------------------------------------
class DigitNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv1d(N_MELS, 32, 5, padding=2, bias=False)
        self.bn1 = nn.BatchNorm1d(32)
        self.conv2 = nn.Conv1d(32, 32, 5, padding=2, bias=False)
        self.bn2 = nn.BatchNorm1d(32)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool1d(1)
        self.fc = nn.Linear(32, N_DIGITS)
        self.out = nn.Softmax(dim=1)  # BUG
        # FIX: self.out = nn.LogSoftmax(dim=1)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.pool(x).squeeze(-1)
        return self.out(self.fc(x))


net = DigitNet()
criterion = nn.NLLLoss()
optimizer = optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)

# ---- training -------------------------------------------------------------
batch_size = 32
for epoch in range(4):
    net.train()
    running = 0.0
    for idx in torch.randperm(len(x_train)).split(batch_size):
        inputs, labels = x_train[idx], y_train[idx]
        optimizer.zero_grad()
        outputs = net(inputs)
        loss = criterion(outputs, labels)  # BUG
        loss.backward()
        optimizer.step()
        running += loss.item() * len(idx)
    scheduler.step()

    net.eval()
    with torch.no_grad():
        predicted = net(x_test).argmax(dim=1)
        acc = (predicted == y_test).float().mean().item()
    print("epoch %d loss %.4f test acc %.3f" % (epoch + 1, running / len(x_train), acc))
