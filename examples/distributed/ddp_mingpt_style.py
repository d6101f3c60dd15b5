"""A character model trained by a Trainer class: DDP, gradient accumulation with no_sync, snapshots on rank 0.

torchrun --standalone --nproc-per-node 2 ddp_mingpt_style.py --max-epochs 2
"""

import argparse
import os
from collections import OrderedDict
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn as nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, Dataset, random_split
from torch.utils.data.distributed import DistributedSampler

# ------------------------------------------------------------------------------------------------ data


class CharDataset(Dataset):
    """Windows of a text; the text is made up by a little grammar."""

    def __init__(self, num_chars: int, block_size: int):
        generator = torch.Generator().manual_seed(1)
        words = ["the", "cat", "dog", "saw", "a", "tree", "ran", "under", "old", "and", "slept.", "\n"]
        picks = torch.randint(len(words), (num_chars // 4,), generator=generator)
        text = " ".join(words[i] for i in picks.tolist())[:num_chars]
        chars = sorted(set(text))
        self.stoi = {c: i for i, c in enumerate(chars)}
        self.vocab_size = len(chars)
        self.block_size = block_size
        self.data = torch.tensor([self.stoi[c] for c in text])

    def __len__(self):
        return len(self.data) - self.block_size

    def __getitem__(self, idx):
        chunk = self.data[idx : idx + self.block_size + 1]
        return chunk[:-1], chunk[1:]


# ----------------------------------------------------------------------------------------------- model


@dataclass
class GPTConfig:
    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    block_size: int = 512
    vocab_size: int = 0


class CausalSelfAttention(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        assert config.n_embd % config.n_head == 0
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)
        self.register_buffer("mask", torch.ones(config.block_size, config.block_size).tril()[None, None])
        self.n_head = config.n_head

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = self.c_attn(x).split(C, dim=2)
        q, k, v = (t.view(B, T, self.n_head, C // self.n_head).transpose(1, 2) for t in (q, k, v))
        att = (q @ k.transpose(-2, -1)) * k.size(-1) ** -0.5
        att = F.softmax(att.masked_fill(self.mask[:, :, :T, :T] == 0, float("-inf")), dim=-1)
        return self.c_proj((att @ v).transpose(1, 2).contiguous().view(B, T, C))


class Block(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(config.n_embd), nn.LayerNorm(config.n_embd)
        self.attn = CausalSelfAttention(config)
        self.mlp = nn.Sequential(
            nn.Linear(config.n_embd, 4 * config.n_embd), nn.GELU(), nn.Linear(4 * config.n_embd, config.n_embd)
        )

    def forward(self, x):
        x = x + self.attn(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class GPT(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        self.tok_emb = nn.Embedding(config.vocab_size, config.n_embd)
        self.pos_emb = nn.Parameter(torch.zeros(1, config.block_size, config.n_embd))
        self.blocks = nn.Sequential(*[Block(config) for _ in range(config.n_layer)])
        self.ln_f = nn.LayerNorm(config.n_embd)
        self.head = nn.Linear(config.n_embd, config.vocab_size, bias=False)

    def forward(self, idx, targets=None):
        x = self.tok_emb(idx) + self.pos_emb[:, : idx.size(1)]
        logits = self.head(self.ln_f(self.blocks(x)))
        loss = None if targets is None else F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))
        return logits, loss


# --------------------------------------------------------------------------------------------- trainer


@dataclass
class TrainerConfig:
    max_epochs: int = 3
    batch_size: int = 32
    accumulate: int = 4
    grad_norm_clip: float = 1.0
    learning_rate: float = 3e-4
    save_every: int = 1
    snapshot_path: str = "snapshot.pt"
    use_amp: bool = torch.cuda.is_available()


@dataclass
class Snapshot:
    model_state: "OrderedDict[str, torch.Tensor]"
    optimizer_state: dict[str, Any]
    finished_epoch: int


class Trainer:
    def __init__(self, config, model, optimizer, train_dataset, test_dataset):
        self.config = config
        self.local_rank = int(os.environ["LOCAL_RANK"])
        self.global_rank = int(os.environ["RANK"])
        self.acc = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
        self.device = self.acc if self.acc.type == "cpu" else torch.device(self.acc.type, self.local_rank)
        self.train_loader = self._prepare_dataloader(train_dataset, shuffle=True)
        self.test_loader = self._prepare_dataloader(test_dataset, shuffle=False)
        self.epochs_run = 0
        self.model = model.to(self.device)
        self.optimizer = optimizer
        self.scaler = torch.amp.GradScaler(self.acc.type, enabled=config.use_amp)
        self._load_snapshot()
        self.model = DDP(self.model, device_ids=None if self.acc.type == "cpu" else [self.local_rank])

    def _prepare_dataloader(self, dataset, shuffle):
        return DataLoader(
            dataset,
            batch_size=self.config.batch_size,
            pin_memory=self.acc.type != "cpu",
            shuffle=False,
            sampler=DistributedSampler(dataset, shuffle=shuffle),
            drop_last=shuffle,
        )

    def _load_snapshot(self):
        path = Path(self.config.snapshot_path)
        if not path.exists():
            if self.global_rank == 0:
                print("No snapshot found. Training from scratch.")
            return
        snapshot = Snapshot(**torch.load(path, map_location="cpu", weights_only=False))
        self.model.load_state_dict(snapshot.model_state)
        self.optimizer.load_state_dict(snapshot.optimizer_state)
        self.epochs_run = snapshot.finished_epoch
        print(f"Resuming from epoch {self.epochs_run}")

    def _save_snapshot(self, epoch):
        raw_model = self.model.module if hasattr(self.model, "module") else self.model
        snapshot = Snapshot(raw_model.state_dict(), self.optimizer.state_dict(), epoch)
        torch.save(asdict(snapshot), self.config.snapshot_path)
        print(f"Snapshot saved at epoch {epoch}")

    def _micro_batch(self, source, targets):
        amp = torch.amp.autocast(self.acc.type, dtype=torch.float16, enabled=self.config.use_amp)
        with torch.set_grad_enabled(self.model.training), amp:
            _, loss = self.model(source, targets)
        return loss

    def _run_epoch(self, epoch, loader, train):
        self.model.train(train)
        if train:
            loader.sampler.set_epoch(epoch)
        total, seen = torch.zeros((), device=self.device), 0
        for it, (source, targets) in enumerate(loader):
            source, targets = source.to(self.device), targets.to(self.device)
            last = (it + 1) % self.config.accumulate == 0
            sync = nullcontext() if last or not train else self.model.no_sync()
            with sync:
                loss = self._micro_batch(source, targets)
                if train:
                    self.scaler.scale(loss / self.config.accumulate).backward()
            if train and last:
                self.scaler.unscale_(self.optimizer)
                nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_norm_clip)
                self.scaler.step(self.optimizer)
                self.scaler.update()
                self.optimizer.zero_grad(set_to_none=True)
            total += loss.detach()
            seen += 1
            if it % 40 == 0 and self.global_rank == 0:
                print(f"[rank 0] epoch {epoch} iter {it} {'train' if train else 'eval'} loss {loss.item():.5f}")
        mean = total / max(seen, 1)
        dist.all_reduce(mean)
        return mean / dist.get_world_size()

    def train(self):
        for epoch in range(self.epochs_run, self.config.max_epochs):
            self._run_epoch(epoch, self.train_loader, train=True)
            if self.global_rank == 0 and (epoch + 1) % self.config.save_every == 0:
                self._save_snapshot(epoch + 1)
            test_loss = self._run_epoch(epoch, self.test_loader, train=False)
            if self.global_rank == 0:
                print(f"epoch {epoch} mean test loss {test_loss.item():.4f}")


def create_optimizer(model, lr, weight_decay=0.1):
    decay = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95))


def ddp_setup():
    if torch.accelerator.is_available():
        device = torch.accelerator.current_accelerator()
        torch.accelerator.set_device_index(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group(backend=dist.get_default_backend_for_device(device))
    else:
        dist.init_process_group(backend="gloo")


def parse(cls, values: list[str] | None = None):
    parser = argparse.ArgumentParser(add_help=False)
    for name, default in asdict(cls()).items():
        kind = type(default) if not isinstance(default, bool) else (lambda text: text.lower() in ("1", "true", "yes"))
        parser.add_argument("--" + name.replace("_", "-"), type=kind, default=default)
    known, rest = parser.parse_known_args(values)
    return cls(**vars(known)), rest


def main():
    gpt_config, rest = parse(GPTConfig)
    trainer_config, rest = parse(TrainerConfig, rest)
    parser = argparse.ArgumentParser()
    parser.add_argument("--chars", type=int, default=600_000)
    chars = parser.parse_args(rest).chars

    ddp_setup()
    torch.manual_seed(1337)
    dataset = CharDataset(chars, gpt_config.block_size)
    gpt_config.vocab_size = dataset.vocab_size
    train_len = int(len(dataset) * 0.9)
    train_set, test_set = random_split(dataset, [train_len, len(dataset) - train_len])
    model = GPT(gpt_config)
    optimizer = create_optimizer(model, trainer_config.learning_rate)
    trainer = Trainer(trainer_config, model, optimizer, train_set, test_set)
    trainer.train()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
