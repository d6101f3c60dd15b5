# MNIST-like example in the old tutorial style
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim

torch.manual_seed(1)


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 8, kernel_size=5)
        self.conv2 = nn.Conv2d(8, 16, kernel_size=5)
        self.conv2_drop = nn.Dropout2d(p=0.1)
        self.fc1 = nn.Linear(256, 50)
        self.fc2 = nn.Linear(50, 10)

    def forward(self, x):
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2_drop(self.conv2(x)), 2))
        x = x.view(x.size(0), -1)
        x = F.relu(self.fc1(x))
        x = torch.dropout(x, 0.25, True)  # BUG
        # FIX: x = torch.dropout(x, 0.25, self.training)
        return F.log_softmax(self.fc2(x), dim=1)


templates = torch.rand(10, 1, 28, 28)


def batches(n, size=32):
    for _ in range(n):
        target = torch.randint(0, 10, (size,))
        yield templates[target] + 0.3 * torch.randn(size, 1, 28, 28), target


model = Net()
optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.5)


def train(epoch):
    model.train()
    for batch_idx, (data, target) in enumerate(batches(15)):
        optimizer.zero_grad()
        output = model(data)
        loss = F.nll_loss(output, target)
        loss.backward()
        optimizer.step()
    print('Train Epoch: {} Loss: {:.6f}'.format(epoch, loss.item()))


def test():
    model.eval()
    test_loss, correct, total = 0.0, 0, 0
    with torch.no_grad():
        for data, target in batches(4):
            output = model(data)
            test_loss += F.nll_loss(output, target, reduction='sum').item()
            correct += output.argmax(dim=1).eq(target).sum().item()
            total += len(target)
    print('Test: Average loss: {:.4f}, Accuracy: {}/{}'.format(test_loss / total, correct, total))


for epoch in range(1, 4):
    train(epoch)
    test()
