"""Train and evaluate the joint model of intents and slots by the project's own script, on invented sentences.

fix: 8bfa415b
depth: live 60
expects: -
where: program
stands in: transformers' old modules, its AdamW (torch's), seqeval's scores, torchcrf
"""

import random
import runpy
import sys
from pathlib import Path

import torch
import transformers
from stand_ins import HERE, stand_in
from transformers import BertConfig, BertModel


class BertPreTrainedModel(transformers.BertPreTrainedModel):
    all_tied_weights_keys = {}  # newer releases ask for it


def accuracy(labels, predictions):
    pairs = [pair for row in zip(labels, predictions) for pair in zip(*row)]
    return sum(a == b for a, b in pairs) / max(len(pairs), 1)


def old_module(name, **values):
    stand_in(f"transformers.modeling_{name}", **{f"{name.upper()}_PRETRAINED_MODEL_ARCHIVE_MAP": {}}, **values)


sys.modules["transformers"].AdamW = torch.optim.AdamW
old_module("bert", BertPreTrainedModel=BertPreTrainedModel, BertModel=BertModel, BertConfig=BertConfig)
old_module("albert")
old_module("distilbert")
stand_in("seqeval.metrics", precision_score=accuracy, recall_score=accuracy, f1_score=accuracy)
stand_in("torchcrf")

WORDS = [
    "play",
    "add",
    "rate",
    "book",
    "the",
    "a",
    "song",
    "album",
    "movie",
    "table",
    "weather",
    "in",
    "for",
    "to",
    "five",
    "stars",
    "jazz",
    "rock",
    "paris",
    "rain",
]
INTENTS, SLOTS = ["UNK", "PlayMusic", "RateBook", "GetWeather"], ["PAD", "UNK", "O", "B-item", "I-item"]
data, base, dice = HERE / "small_data", HERE / "small_bert", random.Random(3)


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("\n".join(lines) + "\n")


write(data / "snips/intent_label.txt", INTENTS)
write(data / "snips/slot_label.txt", SLOTS)
for mode, count in (("train", 70), ("dev", 20), ("test", 22)):
    lengths = [dice.randint(3, 9) for _ in range(count)]
    write(data / "snips" / mode / "seq.in", [" ".join(dice.choices(WORDS, k=n)) for n in lengths])
    write(data / "snips" / mode / "seq.out", [" ".join(dice.choices(SLOTS[2:], k=n)) for n in lengths])
    write(data / "snips" / mode / "label", dice.choices(INTENTS[1:], k=count))
write(base / "vocab.txt", ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])
config = BertConfig(
    vocab_size=5 + len(WORDS), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
)
weights, generator = BertModel(config), torch.Generator().manual_seed(7)
for parameter in weights.parameters():
    if parameter.dim() > 1:
        parameter.data.normal_(std=0.02, generator=generator)
weights.save_pretrained(base)
for cache in data.glob("cached_*"):
    cache.unlink()

import utils

utils.MODEL_PATH_MAP["bert"] = str(base)
script = str(HERE / "main.py")
sys.argv = [script, "--task", "snips", "--model_dir", "small_model", "--data_dir", str(data), "--max_seq_len", "14"]
sys.argv += ["--train_batch_size", "16", "--num_train_epochs", "3", "--logging_steps", "5", "--save_steps", "5"]
sys.argv += ["--do_train", "--do_eval"]
runpy.run_path(script, run_name="__main__")
