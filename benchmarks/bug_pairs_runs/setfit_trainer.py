"""Train SetFit with the project's Trainer for a given number of steps, with evaluations, and evaluate the model.

fix: b964238c
depth: live 60
expects: -
where: program
stands in: datasets, pandas, evaluate, requests; a small BERT without pretraining; what transformers has renamed or lost
needs: sentence-transformers
"""

import random
import sys
from types import SimpleNamespace

from sentence_transformers import SentenceTransformer, models
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from stand_ins import HERE, stand_in
from transformers import BertConfig, BertModel, BertTokenizerFast, training_args


class Dataset:
    def __init__(self, columns):
        self.columns = columns
        self.column_names = list(columns)

    def __getitem__(self, name):
        return self.columns[name]


class Accuracy:
    def compute(self, predictions, references):
        return {"accuracy": float(accuracy_score(references, predictions))}


training_args.default_logdir = lambda: str(HERE / "runs")
stand_in("pandas")
stand_in("requests", exceptions=SimpleNamespace(RequestException=OSError))
stand_in("datasets", Dataset=Dataset)
stand_in("evaluate", load=lambda name, config_name=None: Accuracy())
sys.path.insert(0, str(HERE / "src"))
from setfit import SetFitModel, Trainer, TrainingArguments

TrainingArguments.eval_strategy = property(lambda self: self.evaluation_strategy)
TOPICS = ["sports", "politics", "science", "music"]
WORDS = {topic: [f"{topic}{i}" for i in range(12)] for topic in TOPICS}
FILLERS = ["this", "sentence", "is", "the", "a", "about", "and", "of"]


def invent(size):
    labels = [random.randrange(len(TOPICS)) for _ in range(size)]
    texts = []
    for label in labels:
        words = random.choices(WORDS[TOPICS[label]], k=random.randint(2, 6)) + random.choices(FILLERS, k=4)
        texts.append(" ".join(random.sample(words, len(words))))
    return Dataset({"text": texts, "label": labels})


folder = HERE / "small_bert"
folder.mkdir(exist_ok=True)
vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *FILLERS, *(word for topic in TOPICS for word in WORDS[topic])]
(folder / "vocab.txt").write_text("\n".join(vocab))
BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
BertModel(BertConfig(vocab_size=len(vocab), max_position_embeddings=64, **sizes)).save_pretrained(folder)
body = SentenceTransformer(modules=[models.Transformer(str(folder), max_seq_length=32), models.Pooling(32)])
model = SetFitModel(body, LogisticRegression())

args = TrainingArguments(
    output_dir=str(HERE / "checkpoints"),
    batch_size=16,
    num_epochs=3,
    max_steps=40,
    body_learning_rate=1e-3,
    evaluation_strategy="epoch",
    logging_steps=5,
    report_to="none",
)
trainer = Trainer(model=model, args=args, train_dataset=invent(25), eval_dataset=invent(21), metric="accuracy")
trainer.train()
print(trainer.evaluate())
