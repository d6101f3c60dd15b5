"""Accelerate on several processes: accumulation, clipping, gathered metrics, states saved by the main process.

torchrun --standalone --nproc-per-node 2 accelerate_ddp.py        (or: accelerate launch accelerate_ddp.py)
"""

import argparse

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import set_seed
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Adverts(Dataset):
    """Click or no click, from 26 categories and 13 numbers."""

    def __init__(self, samples, buckets):
        self.samples, self.buckets = samples, buckets

    def __len__(self):
        return self.samples

    def __getitem__(self, index):
        g = torch.Generator().manual_seed(index)
        categories = torch.randint(self.buckets, (26,), generator=g)
        numbers = torch.randn(13, generator=g)
        clicked = (numbers.sum() + (categories % 7).float().mean() > 3).float()
        return {"categories": categories, "numbers": numbers, "label": clicked}


class Recommender(nn.Module):
    def __init__(self, buckets, embedding, hidden):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(buckets, embedding) for _ in range(26))
        self.bottom = nn.Sequential(nn.Linear(13, hidden), nn.ReLU(), nn.Linear(hidden, embedding), nn.ReLU())
        pairs = 27 * 26 // 2
        self.top = nn.Sequential(
            nn.Linear(pairs + embedding, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )
        rows, columns = torch.tril_indices(27, 27, -1)
        self.register_buffer("rows", rows)
        self.register_buffer("columns", columns)

    def forward(self, categories, numbers):
        dense = self.bottom(numbers)
        sparse = [table(categories[:, i]) for i, table in enumerate(self.tables)]
        z = torch.stack([dense, *sparse], dim=1)
        interactions = (z @ z.mT)[:, self.rows, self.columns]
        return self.top(torch.cat([dense, interactions], dim=1)).squeeze(-1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=2048)
    parser.add_argument("--accumulate", type=int, default=2)
    parser.add_argument("--buckets", type=int, default=100_000)
    parser.add_argument("--embedding", type=int, default=64)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--samples", type=int, default=4_194_304)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--mixed-precision", default="no")
    parser.add_argument("--output-dir", default=None)
    args = parser.parse_args()

    set_seed(0)
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        gradient_accumulation_steps=args.accumulate,
        mixed_precision=args.mixed_precision,
        kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
    )
    with accelerator.main_process_first():
        data = Adverts(args.samples, args.buckets)
    train_loader = DataLoader(data, batch_size=args.batch_size, shuffle=True, drop_last=True)
    valid_loader = DataLoader(torch.utils.data.Subset(data, range(args.samples // 16)), batch_size=args.batch_size)
    model = Recommender(args.buckets, args.embedding, args.hidden)
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1000, gamma=0.5)
    model, optimizer, train_loader, valid_loader, scheduler = accelerator.prepare(
        model, optimizer, train_loader, valid_loader, scheduler
    )
    criterion = nn.BCEWithLogitsLoss()

    for epoch in range(args.epochs):
        model.train()
        for step, batch in enumerate(train_loader):
            with accelerator.accumulate(model):
                loss = criterion(model(batch["categories"], batch["numbers"]), batch["label"])
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
            if step % 20 == 0:
                mean = accelerator.reduce(loss.detach(), reduction="mean")
                accelerator.print(f"epoch {epoch} step {step} loss {mean.item():.4f}")
        model.eval()
        right = total = 0
        for batch in valid_loader:
            with torch.no_grad():
                logits = model(batch["categories"], batch["numbers"])
            guesses, labels = accelerator.gather_for_metrics((logits > 0, batch["label"]))
            right += (guesses == labels.bool()).sum().item()
            total += len(labels)
        accelerator.print(f"epoch {epoch} accuracy {right / total:.3f}")

    accelerator.wait_for_everyone()
    if args.output_dir and accelerator.is_main_process:
        accelerator.save(accelerator.unwrap_model(model).state_dict(), f"{args.output_dir}/model.pt")
    accelerator.end_training()


if __name__ == "__main__":
    main()
