"""Encode invented reviews with a small BERT and fit a classifier on the vectors, as the project's example does.

fix: 2f167f4a
depth: live 60
expects: TW703
where: simpletransformers/language_representation/representation_model.py
stands in: names that transformers has moved, and pretrained weights (a small BERT freshly made and saved)
"""

import random
import sys
import tempfile
from pathlib import Path

import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import classification_report
from transformers import BertConfig, BertModel, BertTokenizer, PreTrainedModel
from transformers.models.bert import modeling_bert
from transformers.models.gpt2 import modeling_gpt2

sys.modules["transformers.modeling_bert"], sys.modules["transformers.modeling_gpt2"] = modeling_bert, modeling_gpt2
if not hasattr(BertTokenizer, "batch_encode_plus"):
    BertTokenizer.batch_encode_plus = BertTokenizer.__call__
old_init_weights = PreTrainedModel.init_weights


def init_weights(self):  # models now end their construction with post_init, which calls this
    return old_init_weights(self) if "all_tied_weights_keys" in vars(self) else self.post_init()


PreTrainedModel.init_weights = init_weights

from simpletransformers.language_representation import RepresentationModel

OPINIONS = [["bad", "slow", "rude", "cold"], ["great", "fresh", "friendly", "fast"]]
WORDS = [
    "the",
    "food",
    "service",
    "place",
    "staff",
    "was",
    "were",
    "is",
    "and",
    "very",
    "a",
    "table",
    "waiter",
    "soup",
    "bread",
    "we",
    "had",
    "came",
    "with",
    "our",
]


def review(label):
    words = random.choices(WORDS, k=random.randint(3, 14)) + random.choices(OPINIONS[label], k=2)
    random.shuffle(words)
    return " ".join(words)


random.seed(0)
torch.manual_seed(0)
folder = Path(tempfile.mkdtemp())
vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *OPINIONS[0], *OPINIONS[1]]
(folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
config = BertConfig(
    vocab_size=len(vocabulary), hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96
)
BertModel(config).save_pretrained(folder)

train_labels = [random.randint(0, 1) for _ in range(90)]
eval_labels = [random.randint(0, 1) for _ in range(40)]
model = RepresentationModel(
    model_type="bert",
    model_name=str(folder),
    use_cuda=False,
    args={"no_save": True, "reprocess_input_data": True, "overwrite_output_dir": True},
)
train_vectors = model.encode_sentences([review(label) for label in train_labels], combine_strategy="mean")
eval_vectors = model.encode_sentences([review(label) for label in eval_labels], combine_strategy="mean")

classifier = RidgeClassifier()
classifier.fit(train_vectors, train_labels)
print(classification_report(eval_labels, classifier.predict(eval_vectors)))
