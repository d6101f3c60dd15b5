"""Train a small BERT to classify invented reviews, with evaluation during training, and evaluate it afterwards.

fix: 50c0c8e4
depth: live 60
expects: TW313
where: simpletransformers/classification/classification_model.py
stands in: pandas, tensorboardX (by torch's own writer), names that transformers has moved or dropped, the project's
  other architectures, and pretrained weights (a small BERT freshly made and saved)
"""

import random
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch._dynamo  # before pandas has its stand-in
import transformers.optimization
from sklearn.metrics import f1_score
from stand_ins import load, stand_in
from torch.utils.tensorboard import SummaryWriter
from transformers import BertConfig, BertModel, BertTokenizer, PreTrainedModel

OPINIONS = [["bad", "slow", "rude", "cold"], ["plain", "usual", "fair", "okay"], ["great", "fresh", "friendly", "fast"]]
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


class DataFrame(dict):
    columns = property(dict.keys)

    def to_csv(self, path, **kwargs):
        pass


def reviews(size):
    labels = [random.randint(0, 2) for _ in range(size)]
    texts = [random.choices(WORDS, k=random.randint(3, 14)) + random.choices(OPINIONS[label], k=2) for label in labels]
    for words in texts:
        random.shuffle(words)
    return DataFrame(text=np.array([" ".join(words) for words in texts]), labels=np.array(labels))


def macro_f1(labels, predictions):
    return f1_score(labels, predictions, average="macro")


old_init_weights = PreTrainedModel.init_weights


def init_weights(self):  # models now end their construction with post_init, which calls this
    return old_init_weights(self) if "all_tied_weights_keys" in vars(self) else self.post_init()


PreTrainedModel.init_weights = init_weights
transformers.optimization.AdamW = torch.optim.AdamW
stand_in("transformers.convert_graph_to_onnx")
stand_in("pandas", DataFrame=DataFrame)
stand_in("tensorboardX", SummaryWriter=lambda logdir: SummaryWriter(logdir))
load("simpletransformers/classification/transformer_models/bert_model.py")
stand_in("simpletransformers.custom_models.models")
for name in ("albert", "camembert", "distilbert", "flaubert", "layoutlm", "roberta", "xlm", "xlm_roberta", "xlnet"):
    stand_in(f"simpletransformers.classification.transformer_models.{name}_model")
classification_model = load("simpletransformers/classification/classification_model.py")

random.seed(0)
torch.manual_seed(0)
folder = Path(tempfile.mkdtemp())
vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *OPINIONS[0], *OPINIONS[1], *OPINIONS[2]]
(folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
config = BertConfig(
    vocab_size=len(vocabulary), hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96
)
BertModel(config).save_pretrained(folder / "bert")

model_args = {
    "num_train_epochs": 3,
    "train_batch_size": 8,
    "learning_rate": 1e-3,
    "max_seq_length": 24,
    "evaluate_during_training": True,
    "evaluate_during_training_steps": 5,
    "evaluate_during_training_verbose": True,
    "use_multiprocessing": False,
    "output_dir": str(folder / "outputs"),
    "best_model_dir": str(folder / "outputs/best_model"),
    "cache_dir": str(folder / "cache"),
    "tensorboard_dir": str(folder / "runs"),
}
model = classification_model.ClassificationModel(
    "bert", str(folder / "bert"), num_labels=3, args=model_args, use_cuda=False
)
model.train_model(reviews(90), eval_df=reviews(30))
result, outputs, wrong = model.eval_model(reviews(50), f1=macro_f1)
print(result)
