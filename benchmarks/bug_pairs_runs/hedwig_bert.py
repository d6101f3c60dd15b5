"""Run the project's models/bert as its readme does, from a small random BERT, on invented sentences with two classes.

fix: e52eff45
depth: live 60
expects: TW313
where: common/trainers/bert_trainer.py
stands in: boto3 and botocore (only imported), torch's old default for loading whole objects
"""

import json
import os
import random
import runpy
import sys
from pathlib import Path

os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
import torch
from stand_ins import stand_in

stand_in("boto3")
stand_in("botocore.exceptions", ClientError=OSError)
from models.bert.model import BertConfig, BertForSequenceClassification

random.seed(11)
good, bad, other = (["".join(random.sample("abcdefghijkl", 4)) for _ in range(size)] for size in (12, 12, 40))
folder, data = Path("small-bert-uncased"), Path("invented_data/SST-2")
folder.mkdir(exist_ok=True)
data.mkdir(parents=True, exist_ok=True)
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *good, *bad, *other]
(folder / "vocab.txt").write_text("\n".join(words) + "\n")
config = BertConfig(
    len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
    max_position_embeddings=32,
)  # fmt: skip
(folder / "bert_config.json").write_text(json.dumps(config.to_dict()))
torch.save(BertForSequenceClassification(config, 2).state_dict(), folder / "pytorch_model.bin")
for name, size in (("train", 110), ("dev", 30), ("test", 30)):
    lines = ["label\tsentence"]
    for _ in range(size):
        label = random.random() < 0.5
        sentence = random.choices(good if label else bad, k=3) + random.choices(other, k=random.randint(2, 20))
        lines.append(f"{'01' if label else '10'}\t{' '.join(random.sample(sentence, len(sentence)))}")
    (data / f"{name}.tsv").write_text("\n".join(lines) + "\n")

sys.argv = [
    "bert",
    "--model",
    str(folder),
    "--dataset",
    "SST-2",
    "--data-dir",
    "invented_data",
    "--max-seq-length",
    "24",
]
sys.argv += ["--batch-size", "16", "--lr", "1e-3", "--epochs", "4", "--no-cuda"]
runpy.run_module("models.bert", run_name="__main__", alter_sys=True)
