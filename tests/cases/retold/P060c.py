"""Mini trainer with callbacks; character RNN."""
import torch
from torch import nn
from torch.nn.utils import clip_grad_value_
from torch.utils.data import DataLoader, Dataset


class Callback:
    def on_train_start(self, trainer): ...
    def on_after_backward(self, trainer): ...
    def on_train_batch_end(self, trainer, loss): ...


class Trainer:
    def __init__(self, callbacks, max_epochs=2):
        self.callbacks, self.max_epochs = callbacks, max_epochs

    def call(self, hook, *args):
        for cb in self.callbacks:
            getattr(cb, hook)(self, *args)

    def fit(self, module, loader):
        self.module = module
        self.optimizer = module.configure_optimizers()
        self.call("on_train_start")
        module.train()
        for self.epoch in range(self.max_epochs):
            for batch in loader:
                self.optimizer.zero_grad()
                loss = module.training_step(batch)
                loss.backward()
                self.call("on_after_backward")
                self.optimizer.step()
                self.call("on_train_batch_end", loss.detach())


class LossPrinter(Callback):
    def on_train_start(self, trainer):
        self.n = 0

    def on_train_batch_end(self, trainer, loss):
        if self.n % 10 == 0:
            print(f"epoch {trainer.epoch} batch {self.n} loss {loss.item():.4f}")
        self.n += 1


class GradientClipping(Callback):
    def __init__(self, limit):
        self.limit = limit

    def on_train_batch_end(self, trainer, loss):  # BUG
    # FIX: def on_after_backward(self, trainer):
        clip_grad_value_(trainer.module.parameters(), self.limit)  # BUG


class CharDataset(Dataset):
    text = "the quick brown fox jumps over the lazy dog and runs away " * 12

    def __init__(self, block=24):
        self.stoi = {c: i for i, c in enumerate(sorted(set(self.text)))}
        self.ids = torch.tensor([self.stoi[c] for c in self.text])
        self.block = block

    def __len__(self):
        return len(self.ids) - self.block - 1

    def __getitem__(self, i):
        chunk = self.ids[i:i + self.block + 1]
        return chunk[:-1], chunk[1:]


class CharRNN(nn.Module):
    def __init__(self, vocab, dim=32):
        super().__init__()
        self.emb = nn.Embedding(vocab, dim)
        self.rnn = nn.RNN(dim, dim, batch_first=True)
        self.out = nn.Linear(dim, vocab)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.5)

    def training_step(self, batch):
        x, y = batch
        h, _ = self.rnn(self.emb(x))
        return nn.functional.cross_entropy(self.out(h).flatten(0, 1), y.flatten())


if __name__ == "__main__":
    torch.manual_seed(0)
    ds = CharDataset()
    trainer = Trainer([LossPrinter(), GradientClipping(0.05)])
    trainer.fit(CharRNN(len(ds.stoi)), DataLoader(ds, batch_size=32, shuffle=True))
