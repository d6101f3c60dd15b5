"""Fine-tune a small Chinese CLIP with the project's train function, with validation every few steps.

fix: 96c1bf05
depth: live 60
expects: TW313
where: cn_clip/training/train.py
needs: six
stands in: torchvision and the data sets (pairs of pictures and texts are invented), moves to a GPU
"""

import logging
import math
import tempfile
from types import SimpleNamespace

import torch
import torch.distributed as dist
from stand_ins import load, stand_in
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

torch.Tensor.cuda = lambda self, *args, **kwargs: self
torch.nn.Module.cuda = lambda self, *args, **kwargs: self
stand_in("torchvision.transforms")

from cn_clip.clip.model import CLIP

training = load("cn_clip/training/train.py")


def make_pairs(count, batch_size, shuffle):
    topics = torch.randint(4, (count,))
    pictures = torch.randn(count, 3, 32, 32) * 0.5 + topics[:, None, None, None] * 0.5
    texts = torch.cat([torch.full((count, 1), 101), 200 + 20 * topics[:, None] + torch.randint(20, (count, 9))], 1)
    texts[::3, 7:] = 0
    pairs = TensorDataset(pictures, texts, texts.ne(0).sum(1) - 1)
    sampler = DistributedSampler(pairs, shuffle=shuffle, seed=1)
    loader = DataLoader(pairs, batch_size=batch_size, sampler=sampler)
    loader.num_samples, loader.num_batches = count, len(loader)
    return SimpleNamespace(dataloader=loader, sampler=sampler)


def set_rate(step):
    for group in optimizer.param_groups:
        group["lr"] = 5e-4 * 0.5 * (1 + math.cos(math.pi * step / args.max_steps))


logging.basicConfig(level=logging.INFO, format="%(message)s")
torch.manual_seed(0)
dist.init_process_group("gloo", init_method=f"file://{tempfile.mktemp()}", rank=0, world_size=1)
data = {"train": make_pairs(96, 8, True), "val": make_pairs(24, 8, False)}
args = SimpleNamespace(
    rank=0, world_size=1, local_device_rank=0, aggregate=True, precision="fp32", report_training_batch_acc=True,
    freeze_vision=False, vision_model="ViT-B-16", log_interval=3, val_data="val", valid_step_interval=5,
    should_save=False, max_steps=36,
)  # fmt: skip
model = CLIP(
    embed_dim=32, image_resolution=32, vision_layers=2, vision_width=64, vision_patch_size=8, vocab_size=400,
    text_attention_probs_dropout_prob=0.1, text_hidden_act="gelu", text_hidden_dropout_prob=0.1, text_hidden_size=32,
    text_initializer_range=0.02, text_intermediate_size=64, text_max_position_embeddings=16,
    text_num_attention_heads=4, text_num_hidden_layers=2, text_type_vocab_size=2,
)  # fmt: skip
model = torch.nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.001)
steps = 0
for epoch in range(3):
    steps += training.train(model, data, epoch, optimizer, None, set_rate, args, steps)
    training.evaluate(model, data, epoch, args, steps)
dist.destroy_process_group()
