"""Run the project's own training script, with a small model, on questions about pictures of random colours.

fix: 29706d92
depth: live 60
expects: -
where: program
stands in: wandb, datasets (invented questions), transformers' tokenizer (by characters), torchvision's transforms
"""

import random
import re
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from stand_ins import stand_in
from torch.utils.data import DataLoader


class Rows(list):
    def shuffle(self, seed):
        return Rows(random.Random(seed).sample(self, len(self)))

    def select(self, indices):
        return Rows(self[i] for i in indices)


def load_dataset(path, name=None):
    rows = {"train": Rows(), "val": Rows()}
    for part, count in (("train", 60), ("val", 6)):
        for index in range(count):
            image = Image.fromarray(np.random.randint(0, 256, (20 + index % 5, 30, 3), dtype=np.uint8))
            question, answer = "Which colour? " * (1 + index % 2), "ABC"[index % 3]
            text = {"user": question, "assistant": answer}
            rows[part].append(
                {"images": [image], "texts": [text], "image": image, "question": question} | {"answer": answer}
            )
    return rows


class Tokenizer:
    eos_token, eos_token_id, image_token, image_token_id = "<|end|>", 0, "<|image|>", 1

    def encode(self, text, add_special_tokens=True):
        specials = {self.eos_token: 0, self.image_token: 1}
        return [specials.get(part) if part in specials else ord(part) for part in re.findall(r"<\|\w+\|>|.|\n", text)]

    def batch_encode_plus(self, texts, max_length=None, **kwargs):
        rows = [self.encode(text)[:max_length] for text in texts]
        length = max_length or max(map(len, rows))
        ids = torch.tensor([[0] * (length - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])
        return {"input_ids": ids, "attention_mask": mask}

    def batch_decode(self, rows, skip_special_tokens):
        return ["".join(chr(token) for token in row.tolist() if token > 1) for row in rows]


def compose(steps):
    size = 32
    return lambda image: torch.from_numpy(np.array(image.resize((size, size)))).permute(2, 0, 1).float() / 255


tokenizer = SimpleNamespace(from_pretrained=lambda name, **kwargs: Tokenizer())
run = SimpleNamespace(log=lambda values, step=None: print(step, values), summary={}, finish=lambda: None)
stand_in("wandb", init=lambda **kwargs: run)
stand_in("datasets", load_dataset=load_dataset, concatenate_datasets=lambda parts: Rows(sum(parts, [])))
stand_in("transformers", AutoTokenizer=tokenizer)
stand_in("torchvision.transforms", Compose=compose, Resize=lambda size: None, ToTensor=lambda: None)
stand_in("torchvision", transforms=stand_in("torchvision.transforms", Compose=compose))
from models.config import TrainConfig, VLMConfig

import train

train.DataLoader = lambda *args, **kwargs: DataLoader(*args, **{**kwargs, "num_workers": 0, "pin_memory": False})
vlm_cfg = VLMConfig(
    vit_hidden_dim=32, vit_inter_dim=64, vit_img_size=32, vit_n_heads=2, vit_n_blocks=1, lm_hidden_dim=32,
    lm_inter_dim=64, lm_base_vocab_size=255, lm_vocab_size=256, lm_n_heads=4, lm_n_kv_heads=2, lm_n_blocks=2,
    lm_max_length=64, mp_image_token_length=1, vlm_load_backbone_weights=False, hf_repo_name=None,
)  # fmt: skip
train_cfg = TrainConfig(
    val_ratio=0.1, batch_size=4, gradient_accumulation_steps=4, mmstar_batch_size=4, eval_interval=4, epochs=3,
    train_dataset_name=("colours",),
)  # fmt: skip
train.train(train_cfg, vlm_cfg)
