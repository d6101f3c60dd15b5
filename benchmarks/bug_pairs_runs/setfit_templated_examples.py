"""Add templated examples to a small multilabel data set, train SetFit on it and evaluate the model.

fix: deb77b9d
depth: live 60
expects: -
where: program
stands in: datasets, pandas, evaluate, requests; a small BERT without pretraining; sentence-transformers' own training loop
needs: sentence-transformers
"""

import copy
import random
import sys
from types import SimpleNamespace

from sentence_transformers import SentenceTransformer, models
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from stand_ins import HERE, stand_in
from transformers import BertConfig, BertModel, BertTokenizerFast


class Dataset:
    def __init__(self, columns):
        self.columns = columns
        self.column_names = list(columns)

    def __getitem__(self, name):
        return self.columns[name]

    def add_item(self, item):
        return Dataset({name: [*values, copy.deepcopy(item[name])] for name, values in self.columns.items()})


class Accuracy:
    def compute(self, predictions, references):
        return {"accuracy": float((predictions == references).all(axis=1).mean())}


SentenceTransformer.fit = SentenceTransformer.old_fit
stand_in("pandas")
stand_in("requests", exceptions=SimpleNamespace(RequestException=OSError))
stand_in("datasets", Dataset=Dataset)
stand_in("evaluate", load=lambda name, config_name=None: Accuracy())
sys.path.insert(0, str(HERE / "src"))
from setfit import SetFitModel, SetFitTrainer
from setfit.data import add_templated_examples

LABELS = ["sports", "politics", "science", "music"]
WORDS = {label: [f"{label}{i}" for i in range(12)] for label in LABELS}
FILLERS = ["this", "sentence", "is", "the", "a", "about", "and", "of"]


def invent(size):
    texts, labels = [], []
    for _ in range(size):
        chosen = random.sample(LABELS, random.choice([1, 1, 2]))
        words = [word for label in chosen for word in random.choices(WORDS[label], k=random.randint(2, 5))]
        words += random.choices(FILLERS, k=random.randint(1, 4))
        texts.append(" ".join(random.sample(words, len(words))))
        labels.append([int(label in chosen) for label in LABELS])
    return Dataset({"text": texts, "label": labels})


folder = HERE / "small_bert"
folder.mkdir(exist_ok=True)
vocab = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *LABELS,
    *FILLERS,
    *(w for words in WORDS.values() for w in words),
]
(folder / "vocab.txt").write_text("\n".join(vocab))
BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
BertModel(BertConfig(vocab_size=len(vocab), max_position_embeddings=64, **sizes)).save_pretrained(folder)
body = SentenceTransformer(modules=[models.Transformer(str(folder), max_seq_length=32), models.Pooling(32)])
model = SetFitModel(body, OneVsRestClassifier(LogisticRegression()), multi_target_strategy="one-vs-rest")

train_dataset = add_templated_examples(invent(13), candidate_labels=LABELS, sample_size=3)
trainer = SetFitTrainer(
    model, train_dataset, invent(30), num_iterations=2, num_epochs=2, batch_size=8, learning_rate=1e-3
)
trainer.train()
print(trainer.evaluate())
