import argparse
import os

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler


class ReviewDataset(Dataset):
    def __init__(self, n, vocab, length, seed):
        g = torch.Generator().manual_seed(seed)
        self.tokens = torch.randint(3, vocab, (n, length), generator=g)
        self.labels = torch.randint(0, 2, (n,), generator=g)
        self.tokens[torch.arange(n), torch.randint(0, length, (n,), generator=g)] = 1 + self.labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.tokens[i], self.labels[i]


class BagClassifier(nn.Module):
    def __init__(self, vocab, dim):
        super().__init__()
        self.bag = nn.EmbeddingBag(vocab, dim, mode="sum")
        self.fc = nn.Linear(dim, 2)

    def forward(self, tokens):
        return self.fc(self.bag(tokens))


class Trainer:
    def __init__(self, args):
        self.args = args
        self.rank = int(os.environ.get("RANK", 0))
        self.world_size = int(os.environ.get("WORLD_SIZE", 1))
        if self.world_size > 1:
            dist.init_process_group("gloo")
        self.train_loader = self.get_dataloader(ReviewDataset(256, args.vocab, 12, seed=0))
        self.val_loader = DataLoader(ReviewDataset(64, args.vocab, 12, seed=1), batch_size=64)
        self.model = BagClassifier(args.vocab, 16)
        self.net = DDP(self.model) if self.world_size > 1 else self.model
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=args.lr)

    def get_dataloader(self, dataset):
        loader_args = {"batch_size": self.args.batch_size, "shuffle": True, "num_workers": 0}  # BUG
        if self.world_size > 1:
            loader_args["sampler"] = DistributedSampler(dataset, seed=self.args.seed)  # BUG
            # FIX: loader_args["shuffle"] = False
            # FIX: loader_args["sampler"] = DistributedSampler(dataset, seed=self.args.seed)
        return DataLoader(dataset, **loader_args)

    def train(self):
        for epoch in range(self.args.epochs):
            if isinstance(self.train_loader.sampler, DistributedSampler):
                self.train_loader.sampler.set_epoch(epoch)
            self.net.train()
            for tokens, labels in self.train_loader:
                self.optimizer.zero_grad()
                loss = nn.functional.cross_entropy(self.net(tokens), labels)
                loss.backward()
                self.optimizer.step()
            if self.rank == 0:
                print(f"epoch {epoch} loss {loss.item():.4f} acc {self.accuracy():.3f}")

    @torch.no_grad()
    def accuracy(self):
        self.model.eval()
        hits = sum((self.model(t).argmax(-1) == y).sum().item() for t, y in self.val_loader)
        return hits / len(self.val_loader.dataset)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--vocab", type=int, default=30)
    parser.add_argument("--batch-size", dest="batch_size", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    Trainer(args).train()
    if dist.is_initialized():
        dist.destroy_process_group()
