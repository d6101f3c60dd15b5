"""Sample a few examples per class from a data set, train SetFit on them and evaluate the model, as the README shows.

fix: 5b39f062
depth: live 60
expects: -
where: program
stands in: datasets, pandas, evaluate, requests; a small BERT without pretraining; what transformers has renamed or lost
needs: sentence-transformers
"""

import random
import sys
from types import SimpleNamespace

import numpy as np
from sentence_transformers import SentenceTransformer, models
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from stand_ins import HERE, stand_in
from transformers import BertConfig, BertModel, BertTokenizerFast, training_args


class DataFrame(list):
    def groupby(self, column):
        values = sorted({row[column] for row in self})
        groups = [DataFrame([row for row in self if row[column] == value]) for value in values]
        return SimpleNamespace(apply=lambda do: DataFrame([row for group in groups for row in do(group)]))

    def sample(self, size, random_state=None):
        generator = np.random if random_state is None else np.random.RandomState(random_state)
        return DataFrame([self[i] for i in generator.choice(len(self), size=size, replace=False)])

    def reset_index(self, drop=False):
        return self


class Dataset:
    column_names, features = ["text", "label"], {"text": "string", "label": "int64"}

    def __init__(self, rows):
        self.rows = rows

    def __getitem__(self, name):
        return [row[name] for row in self.rows]

    def shuffle(self, seed=None):
        return Dataset([self.rows[i] for i in np.random.default_rng(seed).permutation(len(self.rows))])

    def to_pandas(self):
        return DataFrame(self.rows)

    @classmethod
    def from_pandas(cls, frame, features=None):
        return cls(frame)


training_args.default_logdir = lambda: str(HERE / "runs")
stand_in("pandas", DataFrame=DataFrame)
stand_in("requests", exceptions=SimpleNamespace(RequestException=OSError))
stand_in("datasets", Dataset=Dataset)
stand_in("evaluate")
sys.path.insert(0, str(HERE / "src"))
from setfit import SetFitModel, Trainer, TrainingArguments, sample_dataset

TrainingArguments.eval_strategy = property(lambda self: self.evaluation_strategy)
WORDS = [[f"{topic}{i}" for i in range(12)] for topic in ("sports", "politics", "science", "music")]
FILLERS = ["this", "sentence", "is", "the", "a", "about", "and", "of"]


def invent(size):
    rows = []
    for _ in range(size):
        label = random.randrange(len(WORDS))
        words = random.choices(WORDS[label], k=random.randint(2, 6)) + random.choices(FILLERS, k=4)
        rows.append({"text": " ".join(random.sample(words, len(words))), "label": label})
    return Dataset(rows)


folder = HERE / "small_bert"
folder.mkdir(exist_ok=True)
vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *FILLERS, *(word for words in WORDS for word in words)]
(folder / "vocab.txt").write_text("\n".join(vocab))
BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
BertModel(BertConfig(vocab_size=len(vocab), max_position_embeddings=64, **sizes)).save_pretrained(folder)
body = SentenceTransformer(modules=[models.Transformer(str(folder), max_seq_length=32), models.Pooling(32)])
model = SetFitModel(body, LogisticRegression())

train_dataset = sample_dataset(invent(120), label_column="label", num_samples=5)
args = TrainingArguments(batch_size=16, num_epochs=2, body_learning_rate=1e-3, report_to="none")
trainer = Trainer(model, args, train_dataset, invent(21), metric=accuracy_score)
trainer.train()
print(trainer.evaluate())
