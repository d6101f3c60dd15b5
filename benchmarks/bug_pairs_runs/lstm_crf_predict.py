"""Run the project's scripts train.py and predict.py: tag the characters of invented sentences.

fix: b8c9508e
depth: live 60
expects: TW356
where: model.py
"""

import random
import runpy
import sys
from pathlib import Path

import model
from stand_ins import HERE

model.BATCH_SIZE, model.EMBED_SIZE, model.HIDDEN_SIZE = 16, 24, 32
random.seed(5)
letters = "abcdefghijklmnopqrst"
marks = [model.PAD, model.EOS, model.SOS, model.UNK]
Path("word_to_idx").write_text("\n".join(marks + list(letters)) + "\n")
Path("tag_to_idx").write_text("\n".join([*marks[:3], "B", "I"]) + "\n")


def sentence():
    words = []
    for _ in range(random.randint(1, 4)):
        words.append(random.choice(letters[:10]) + "".join(random.sample(letters[10:], random.randint(0, 3))))
    return words


lines = []
for words in sorted((sentence() for _ in range(90)), key=lambda words: -len("".join(words))):
    tokens = [4 + letters.index(letter) for letter in "".join(words)]
    tags = [3 + (at > 0) for word in words for at in range(len(word))]
    lines.append(" ".join(str(number) for number in tokens + tags))
Path("training_data.csv").write_text("\n".join(lines) + "\n")
Path("test_data").write_text("\n".join("".join(sentence()) for _ in range(40)) + "\n")

sys.argv = ["train.py", "tagger", "word_to_idx", "tag_to_idx", "training_data.csv", "4"]
runpy.run_path(str(HERE / "train.py"), run_name="__main__")
sys.argv = ["predict.py", "tagger.epoch4", "word_to_idx", "tag_to_idx", "test_data"]
runpy.run_path(str(HERE / "predict.py"), run_name="__main__")
