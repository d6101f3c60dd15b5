"""Train the word-level tagger with the project's script on invented news sentences, then annotate raw text with it.

fix: 47313e1b
depth: live 60
expects: TW356
where: model/predictor.py
stands in: what the torch of that time did with byte masks, labels and shapes (shims)
needs: tqdm
"""

import os
import random
import runpy
import sys
import tempfile
from types import SimpleNamespace

import torch
from torch import nn

nn.utils.clip_grad_norm = nn.utils.clip_grad_norm_
for name in ("masked_select", "masked_fill_"):
    plain = getattr(torch.Tensor, name)
    setattr(torch.Tensor, name, lambda self, mask, *rest, plain=plain: plain(self, mask.bool(), *rest))

import model.crf as crf
import model.utils as utils


class Labels(dict):
    def __missing__(self, key):
        return self[int(key)]


revlut, switch = utils.revlut, utils.switch
utils.revlut = lambda lut: Labels(revlut(lut))
utils.switch = lambda first, second, mask: switch(first.contiguous(), second.contiguous(), mask)


def flat(source, dim, index):
    return torch.gather(source, dim, index).squeeze(1)


crf.torch = SimpleNamespace(
    **{**vars(torch), "gather": lambda *all: (flat if all[0].dim() == 2 else torch.gather)(*all)}
)


PEOPLE = ["Anna Berg", "Li Wei", "Omar Haddad", "Maria", "John Smith Brown", "Petrov"]
PLACES = ["Berlin", "New York", "Rio de Janeiro", "Cairo", "South Korea", "Oslo"]
FRAMES = [
    "{p} flew to {l} on Monday .", "The mayor of {l} met {p} .", "{p} and {p} won in {l} .", "Rain fell on {l} .",
    "Nobody in {l} expected it .", "Yesterday {p} spoke about prices in {l} and {l} .", "Shares rose 3 percent .",
]  # fmt: skip


def sentence():
    rows = []
    for word in random.choice(FRAMES).split():
        if word not in ("{p}", "{l}"):
            rows.append((word, "O"))
            continue
        kind, names = ("PER", PEOPLE) if word == "{p}" else ("LOC", PLACES)
        parts = random.choice(names).split()
        marks = ["S"] if len(parts) == 1 else ["B"] + ["I"] * (len(parts) - 2) + ["E"]
        rows += [(part, f"{mark}-{kind}") for part, mark in zip(parts, marks)]
    return rows


def write(path, count, labels=True):
    with open(path, "w") as out:
        for _ in range(count):
            out.writelines(f"{word} {label}\n" if labels else f"{word}\n" for word, label in sentence())
            out.write("\n")


random.seed(1)
torch.manual_seed(1)
folder = tempfile.mkdtemp() + "/"
write(folder + "train", 120)
write(folder + "dev", 40)
write(folder + "test", 40)
write(folder + "raw", 30, labels=False)

sys.argv = ["train_w.py", "--gpu", "-1", "--rand_embedding", "--mini_count", "1", "--epoch", "4", "--hidden", "40"]
sys.argv += ["--embedding_dim", "20", "--lr", "0.05", "--least_iters", "2", "--caseless", "--checkpoint", folder]
sys.argv += ["--train_file", folder + "train", "--dev_file", folder + "dev", "--test_file", folder + "test"]
runpy.run_path("train_w.py", {"eprint": print}, "__main__")

sys.argv = ["seq_w.py", "--gpu", "-1", "--load_arg", folder + "cwlm_lstm_crf.json", "--batch_size", "10"]
sys.argv += ["--load_check_point", folder + "cwlm_lstm_crf.model", "--decode_type", "string"]
sys.argv += ["--input_file", folder + "raw", "--output_file", folder + "annotated"]
print("saved:", [name for name in os.listdir(folder) if name.startswith("cwlm")])
runpy.run_path("seq_w.py", run_name="__main__")
with open(folder + "annotated") as annotated:
    print(*[line for line in annotated.read().split("\n") if line][:8], sep="\n")
