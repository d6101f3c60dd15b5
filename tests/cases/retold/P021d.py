# Tutorial 4: a small VGG for 32x32 pictures, with the shape of every step written next to it
import torch
import torch.nn as nn
import torch.optim as optim


class TinyVGG(nn.Module):
    """Input: (N, 3, 32, 32), output: (N, 10) class scores."""

    def __init__(self):
        super(TinyVGG, self).__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.conv3 = nn.Conv2d(32, 64, 3)
        self.pool = nn.MaxPool2d(2, 2)
        self.drop = nn.Dropout(0.25)
        self.fc1 = nn.Linear(64 * 3 * 3, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = torch.relu(self.conv1(x))  # (N, 16, 32, 32)
        x = self.pool(x)  # (N, 16, 16, 16)
        x = torch.relu(self.conv2(x))  # (N, 32, 16, 16)
        x = self.pool(x)  # (N, 16, 8, 8)  # BUG
        # FIX: x = self.pool(x)  # (N, 32, 8, 8)
        x = torch.relu(self.conv3(x))  # (N, 64, 8, 8)  # BUG
        # FIX: x = torch.relu(self.conv3(x))  # (N, 64, 6, 6)
        x = self.pool(x)  # (N, 64, 4, 4)  # BUG
        # FIX: x = self.pool(x)  # (N, 64, 3, 3)
        x = x.flatten(1)  # (N, 1024)  # BUG
        # FIX: x = x.flatten(1)  # (N, 576)
        x = self.drop(torch.relu(self.fc1(x)))  # (N, 128)
        return self.fc2(x)  # (N, 10)


torch.manual_seed(1)
labels = torch.randint(0, 10, (256,))
patterns = torch.randn(10, 3, 32, 32)
images = patterns[labels] + 0.8 * torch.randn(256, 3, 32, 32)  # (256, 3, 32, 32)
train = torch.utils.data.TensorDataset(images[:192], labels[:192])
trainloader = torch.utils.data.DataLoader(train, batch_size=32, shuffle=True)

net = TinyVGG()
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(net.parameters(), lr=0.02, momentum=0.9)

for epoch in range(2):
    net.train()
    running_loss = 0.0
    for inputs, targets in trainloader:
        optimizer.zero_grad()
        outputs = net(inputs)
        loss = criterion(outputs, targets)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
    print("epoch %d loss %.3f" % (epoch + 1, running_loss / len(trainloader)))

net.eval()
with torch.no_grad():
    correct = (net(images[192:]).argmax(1) == labels[192:]).sum().item()
print("held-out accuracy: %d / 64" % correct)
