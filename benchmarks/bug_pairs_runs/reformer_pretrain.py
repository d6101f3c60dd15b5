"""Pretrain a small Reformer on invented articles with the project's trainer, four batches to a step, and evaluate it.

fix: 42a8682f
depth: live 60
expects: -
where: program
needs: axial_positional_embedding==0.2.1
stands in: the tokenizer of transformers (a tokenizer of words), fairseq's Adafactor (torch's), product_key_memory (unused)
"""

import json
import random
import tempfile
from pathlib import Path

import torch
from stand_ins import load, stand_in


class Words:
    max_len, vocab_size, pad_token_id, mask_token, _pad_token = 32, 60, 0, "[MASK]", "[PAD]"

    def __len__(self):
        return self.vocab_size

    def convert_tokens_to_ids(self, token):
        return {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[MASK]": 3}[token]

    def get_special_tokens_mask(self, ids, already_has_special_tokens):
        return [int(number < 4) for number in ids]

    def encode(self, text, add_special_tokens, max_length, pad_to_max_length, return_tensors):
        ids = [1, *(4 + int(word[1:]) for word in text.split()[: max_length - 2]), 2]
        return torch.tensor([ids + [0] * (max_length - len(ids))])


stand_in("product_key_memory")
stand_in("transformers")
stand_in("fairseq.optim.adafactor", Adafactor=torch.optim.Adafactor)

from reformer_pytorch import ReformerLM

pretraining = load("pretraining/self-supervised.py", "self_supervised")

random.seed(0)
torch.manual_seed(0)
folder, checkpoints, logs = (tempfile.mkdtemp() for _ in range(3))
for article in range(60):
    paragraphs = []
    for _ in range(2):
        start, step = random.randrange(56), random.choice((1, 2, 5))
        text = " ".join(f"w{(start + step * at) % 56}" for at in range(random.randrange(16, 28)))
        paragraphs.append(json.dumps({"text": text}))
    Path(folder, f"wiki_{article}").write_text("\n".join(paragraphs))

tokenizer = Words()
model = ReformerLM(
    num_tokens=tokenizer.vocab_size, dim=32, depth=2, heads=4, max_seq_len=tokenizer.max_len, bucket_size=8, n_hashes=2
)
trainer = pretraining.ReformerTrainer(
    pretraining.WikiDataset(folder), model, tokenizer, train_batch_size=6, eval_batch_size=6, tb_writer=False,
    log_dir=logs,
)  # fmt: skip
train_dataloader, eval_dataloader = trainer.build_dataloaders(train_test_split=0.1)
trainer.train(
    epochs=3, train_dataloader=train_dataloader, eval_dataloader=eval_dataloader, log_steps=6, ckpt_steps=1000,
    ckpt_dir=checkpoints, gradient_accumulation_steps=4,
)  # fmt: skip
trainer.evaluate(eval_dataloader)
losses = json.loads(Path(logs, "train_results.json").read_text())
print("loss at the start and the end", losses["0"] * 4, list(losses.values())[-1] * 4)
