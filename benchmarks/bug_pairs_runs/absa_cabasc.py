"""Run the project's own train.py for Cabasc, on an invented corpus of reviews and invented word vectors.

fix: 7e96d151
depth: live 60
expects: TW201
where: train.py
stands in: tensorboardX (by torch's own writer)
"""

import os
import random
import runpy
import sys
import tempfile
from pathlib import Path

import numpy as np
from stand_ins import HERE, stand_in
from torch.utils.tensorboard import SummaryWriter

WORDS = [f"word{i}" for i in range(120)]
OPINIONS = {"1": ["great", "tasty", "friendly"], "0": ["plain", "usual", "fair"], "-1": ["bad", "slow", "rude"]}


def review():
    polarity = random.choice(list(OPINIONS))
    left = random.choices(WORDS, k=random.randint(2, 9))
    right = [random.choice(OPINIONS[polarity]), *random.choices(WORDS, k=random.randint(1, 8))]
    aspect = random.choices(WORDS, k=random.randint(1, 3))
    return "\n".join([" ".join([*left, "$T$", *right]), " ".join(aspect), polarity])


random.seed(0)
np.random.seed(0)
folder = Path(tempfile.mkdtemp())
(folder / "datasets/semeval14").mkdir(parents=True)
for name, size in (("Restaurants_Train.xml.seg", 90), ("Restaurants_Test_Gold.xml.seg", 30)):
    (folder / "datasets/semeval14" / name).write_text("\n".join(review() for _ in range(size)) + "\n")
(folder / "glove.twitter.27B").mkdir()
vocabulary = WORDS + [word for words in OPINIONS.values() for word in words]
vectors = [" ".join([word, *(f"{value:.4f}" for value in np.random.randn(50) * 0.4)]) for word in vocabulary]
(folder / "glove.twitter.27B/glove.twitter.27B.50d.txt").write_text("\n".join(vectors) + "\n")

os.chdir(folder)
stand_in("tensorboardX", SummaryWriter=SummaryWriter)
script = str(HERE / "train.py")
sys.argv = [script, "--model_name", "cabasc", "--dataset", "restaurant", "--embed_dim", "50", "--hidden_dim", "50"]
sys.argv += ["--batch_size", "16", "--num_epoch", "3", "--max_seq_len", "40", "--log_step", "3"]
runpy.run_path(script, run_name="__main__")
