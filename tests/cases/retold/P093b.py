# numbers stream from a generator function
import itertools
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset
# FIX+: from torch.utils.data import get_worker_info


class FromGenerator(IterableDataset):
    def __init__(self, fn, *args):
        self.fn, self.args = fn, args

    def __iter__(self):
        return self.fn(*self.args)  # BUG
        # FIX: info = get_worker_info()
        # FIX: first, step = (0, 1) if info is None else (info.id, info.num_workers)
        # FIX: return itertools.islice(self.fn(*self.args), first, None, step)


def rows(n):
    g = torch.Generator().manual_seed(17)  # a fixed file, read from its start
    w = torch.linspace(-1, 1, 6)
    for _ in range(n):
        x = torch.randn(6, generator=g)
        yield x, (x * w).sum().view(1)


def main():
    torch.manual_seed(0)
    loader = DataLoader(FromGenerator(rows, 128), batch_size=16, num_workers=2)
    net = nn.Linear(6, 1)
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    net.train()
    for epoch in range(2):
        count = itertools.count()
        for x, y in loader:
            loss = nn.functional.mse_loss(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            steps = next(count) + 1
        print("epoch", epoch, "steps", steps, "loss", round(loss.item(), 5))


if __name__ == "__main__":
    main()
