"""Train the project's ConvLSTM to predict the next frame of moving squares, time first.

fix: 8863c885
depth: live 60
expects: -
where: program
stands in: the move to a graphics card
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.Tensor.cuda = lambda self, *args, **kwargs: self

from convlstm import ConvLSTM

torch.manual_seed(0)


class MovingSquares(Dataset):
    def __init__(self, count, frames=7, size=16):
        self.clips = torch.zeros(count, frames, 1, size, size)
        start = torch.randint(0, size, (count, 2))
        speed = torch.randint(-2, 3, (count, 2))
        for clip, place, step in zip(self.clips, start, speed):
            for t in range(frames):
                y, x = ((place + t * step) % (size - 4)).tolist()
                clip[t, 0, y : y + 4, x : x + 4] = 1

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, index):
        return self.clips[index]


class NextFrame(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = ConvLSTM((16, 16), 1, [8, 8], (3, 3), num_layers=2, batch_first=False)
        self.head = nn.Conv2d(8, 1, 1)

    def forward(self, frames):
        _, states = self.lstm(frames)
        return self.head(states[-1][0])


def collate(clips):
    clips = torch.stack(clips, 1)
    return clips[:-1], clips[-1]


train = DataLoader(MovingSquares(36), batch_size=6, shuffle=True, collate_fn=collate)
test = DataLoader(MovingSquares(12), batch_size=6, collate_fn=collate)
model = NextFrame()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
criterion = nn.BCEWithLogitsLoss()

for epoch in range(3):
    model.train()
    for frames, following in train:
        optimizer.zero_grad()
        loss = criterion(model(frames), following)
        loss.backward()
        optimizer.step()
    model.eval()
    total = 0.0
    with torch.no_grad():
        for frames, following in test:
            total += criterion(model(frames), following).item() * following.size(0)
    print(f"epoch {epoch}: train {loss.item():.4f}, test {total / len(test.dataset):.4f}")
