"""Fine-tune with the project's own LoRA script: its train() with a validation at the beginning and after steps.

fix: b4cf01ed
mended: 22ef3efe (the mend of the pair fails when it runs; this one does not)
depth: live 4
expects: TW252
where: finetune/lora.py, lit_gpt/utils.py
stands in: the tokenizer, and generating an example (both need a checkpoint's files)
"""

from pathlib import Path
from types import SimpleNamespace

import lightning as L
import torch
from stand_ins import HERE, load, package, stand_in

stand_in("lit_gpt.tokenizer")
package("lit_gpt", HERE / "lit_gpt")
import lit_gpt.model
from lit_gpt.config import Config

lit_gpt.GPT, lit_gpt.Config = lit_gpt.model.GPT, Config
stand_in("generate.base")
stand_in("lit_gpt.speed_monitor", measure_flops=lambda model, x: 1.0)
stand_in("scripts.prepare_alpaca", generate_prompt=lambda sample: sample["instruction"])
lora = load("finetune/lora.py")


class Tokenizer:
    def __init__(self, folder):
        pass

    def encode(self, text, device=None):
        return torch.randint(1, 60, (10,))

    def decode(self, tokens):
        return ""


lora.Tokenizer = Tokenizer
lora.generate = lambda model, idx, **kwargs: idx
lora.eval_iters, lora.eval_interval, lora.max_iters, lora.gradient_accumulation_iters, lora.warmup_steps = 3, 1, 8, 2, 1
fabric = L.Fabric(accelerator="cpu", devices=1)
config = lora.Config(
    block_size=64, vocab_size=64, n_layer=2, n_head=2, n_embd=32, r=4, alpha=8, dropout=0.05, to_query=True,
    to_value=True,
)  # fmt: skip
model = lora.GPT(config)
lora.mark_only_lora_as_trainable(model)
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-4)
model, optimizer = fabric.setup(model, optimizer)


def samples(count):
    texts = [torch.randint(3, 60, (int(torch.randint(20, 40, ())),)) for _ in range(count)]
    texts = [torch.cat([text, torch.tensor([2])]) for text in texts]  # the end token
    return [{"input_ids": text, "labels": text.clone()} for text in texts]


monitor = SimpleNamespace(on_train_batch_end=lambda *args, **kwargs: None, eval_end=lambda seconds: None)
lora.train(fabric, model, optimizer, samples(32), samples(16), Path("checkpoint"), Path("out"), monitor)
