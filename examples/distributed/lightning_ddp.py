"""Lightning on several processes: DDP, FSDP (GPUs only) or FSDP2 by argument.

torchrun --standalone --nproc-per-node 2 lightning_ddp.py --strategy ddp
"""

import argparse
import os

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy, ModelParallelStrategy
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset


class Patches(Dataset):
    def __init__(self, samples, side):
        self.samples, self.side = samples, side

    def __len__(self):
        return self.samples

    def __getitem__(self, i):
        g = torch.Generator().manual_seed(i)
        return torch.rand(3, self.side, self.side, generator=g) * (1 + i % 10), i % 10


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class VisionTransformer(L.LightningModule):
    def __init__(self, side=224, patch=16, width=768, heads=12, depth=12, lr=1e-3):
        super().__init__()
        self.save_hyperparameters()
        self.embed = nn.Conv2d(3, width, patch, patch)
        self.position = nn.Parameter(torch.zeros(1, (side // patch) ** 2, width))
        self.layers = nn.Sequential(*(Layer(width, heads) for _ in range(depth)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 10))

    def configure_model(self):
        # Called by every strategy; only ModelParallelStrategy leaves the sharding to the module.
        if isinstance(self.trainer.strategy, ModelParallelStrategy) and not hasattr(self, "sharded"):
            mesh = self.device_mesh["data_parallel"]
            for layer in self.layers:
                fully_shard(layer, mesh=mesh)
            fully_shard(self, mesh=mesh)
            self.sharded = True

    def forward(self, images):
        x = self.embed(images).flatten(2).transpose(1, 2) + self.position
        return self.head(self.layers(x).mean(dim=1))

    def training_step(self, batch, batch_idx):
        images, labels = batch
        loss = F.cross_entropy(self(images), labels)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch, batch_idx):
        images, labels = batch
        logits = self(images)
        self.log("val_loss", F.cross_entropy(logits, labels), sync_dist=True)
        self.log("val_acc", (logits.argmax(-1) == labels).float().mean(), sync_dist=True)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.hparams.lr, weight_decay=0.05)


def make_strategy(name, world_size):
    if name == "ddp":
        return DDPStrategy(gradient_as_bucket_view=True)
    if name == "fsdp":
        return FSDPStrategy(auto_wrap_policy=ModuleWrapPolicy({Layer}), sharding_strategy="FULL_SHARD")
    return ModelParallelStrategy(data_parallel_size=world_size, tensor_parallel_size=1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--strategy", choices=["ddp", "fsdp", "fsdp2"], default="ddp")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--patch", type=int, default=16)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--samples", type=int, default=262_144)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--precision", default="bf16-mixed" if torch.cuda.is_available() else "32-true")
    args = parser.parse_args()

    L.seed_everything(0)
    world_size = int(os.environ.get("WORLD_SIZE", 1))
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", world_size))
    trainer = L.Trainer(
        accelerator="auto",
        strategy=make_strategy(args.strategy, world_size),
        devices=local_size,
        num_nodes=world_size // local_size,
        precision=args.precision,
        max_epochs=args.epochs,
        accumulate_grad_batches=2,
        gradient_clip_val=None if args.strategy == "fsdp2" else 1.0,
        log_every_n_steps=5,
        logger=False,
        enable_checkpointing=False,
    )
    model = VisionTransformer(args.side, args.patch, args.width, args.heads, args.depth)
    train, valid = Patches(args.samples, args.side), Patches(args.samples // 8, args.side)
    # Lightning puts a DistributedSampler into both loaders and sets its epoch.
    trainer.fit(
        model, DataLoader(train, args.batch_size, shuffle=True, drop_last=True), DataLoader(valid, args.batch_size)
    )


if __name__ == "__main__":
    main()
