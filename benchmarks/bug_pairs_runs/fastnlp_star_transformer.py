"""Train a classifier of sentences of several lengths with the project's StarTransformer and its trainer.

fix: 8d61cd68
depth: live 60
expects: -
where: program
stands in: tensorboardX, numpy's old alias of str
"""

import random

import numpy as np
from stand_ins import stand_in

stand_in("tensorboardX")
np.str = str
from fastNLP import AccuracyMetric, CrossEntropyLoss, Instance, Trainer
from fastNLP.core.dataset import DataSet
from fastNLP.core.optimizer import Adam
from fastNLP.models.base_model import BaseModel
from fastNLP.modules import encoder
from fastNLP.modules.encoder.star_transformer import StarTransformer
from fastNLP.modules.utils import seq_mask


class SentenceClassifier(BaseModel):
    def __init__(self, vocab_size, num_classes):
        super().__init__()
        self.embed = encoder.Embedding(vocab_size, 32)
        self.encoder = StarTransformer(hidden_size=32, num_layers=2, num_head=4, head_dim=8, max_len=20)
        self.fc = encoder.Linear(32, num_classes)

    def forward(self, words, seq_len):
        nodes, relay = self.encoder(self.embed(words), seq_mask(seq_len, words.size(1)))
        return {"pred": self.fc(0.5 * (relay + nodes.max(1)[0]))}

    def predict(self, words, seq_len):
        return {"pred": self(words, seq_len)["pred"].argmax(-1)}


def sentence():
    label = random.randrange(3)
    usual, rare = range(1 + 20 * label, 21 + 20 * label), range(1, 61)
    words = [random.choice(usual if random.random() < 0.6 else rare) for _ in range(random.randint(4, 18))]
    return Instance(words=words, seq_len=len(words), target=label)


random.seed(0)
dataset = DataSet([sentence() for _ in range(250)])
dataset.set_input("words", "seq_len")
dataset.set_target("target")
train_data, dev_data = dataset.split(0.2)
trainer = Trainer(
    train_data,
    SentenceClassifier(61, 3),
    loss=CrossEntropyLoss(pred="pred", target="target"),
    metrics=AccuracyMetric(pred="pred", target="target"),
    n_epochs=4,
    batch_size=16,
    dev_data=dev_data,
    optimizer=Adam(lr=0.003),
    use_tqdm=False,
)
trainer.train()
