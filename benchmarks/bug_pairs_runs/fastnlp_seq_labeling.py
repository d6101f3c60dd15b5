"""Train the sequence labeler on invented sentences and test the saved model, as the project's seq_labeling.py does.

fix: 8a878072
depth: live 60
expects: TW703
where: fastNLP/core/tester.py
"""

import os
import random
import tempfile

from fastNLP.core.tester import SeqLabelTester
from fastNLP.core.trainer import SeqLabelTrainer
from fastNLP.loader.model_loader import ModelLoader
from fastNLP.loader.preprocess import POSPreprocess
from fastNLP.models.sequence_modeling import SeqLabeling
from fastNLP.saver.model_saver import ModelSaver

random.seed(0)
tag_of = {f"word{i}": random.choice(["noun", "verb", "adj", "adv"]) for i in range(60)}
sentences = [random.choices(sorted(tag_of), k=random.randint(4, 12)) for _ in range(110)]
data = [[words, [tag_of[word] for word in words]] for words in sentences]

folder = os.path.join(tempfile.mkdtemp(), "")
preprocess = POSPreprocess(data, folder, train_dev_split=0.3)
args = {
    "epochs": 3,
    "batch_size": 8,
    "pickle_path": folder,
    "validate": True,
    "save_best_dev": True,
    "model_saved_path": folder,
    "use_cuda": False,
    "rnn_hidden_units": 24,
    "word_emb_dim": 16,
    "vocab_size": preprocess.vocab_size,
    "num_classes": preprocess.num_classes,
}
model = SeqLabeling(args)
SeqLabelTrainer(args).train(model)
ModelSaver(folder + "saved_model.pkl").save_pytorch(model)

model = SeqLabeling(args)
ModelLoader.load_pytorch(model, folder + "saved_model.pkl")
test_args = {
    "save_output": True,
    "validate_in_training": False,
    "save_dev_input": False,
    "save_loss": True,
    "batch_size": 8,
    "pickle_path": folder,
    "use_cuda": False,
}
tester = SeqLabelTester(test_args)
tester.test(model)
print(tester.show_matrices())
