"""Train a dense retriever with mean pooling and encode passages with it, by the project's drivers, on invented texts.

fix: 9b51e849
depth: live 60
expects: TW269
where: src/tevatron/retriever/trainer.py
stands in: datasets, peft, grad_cache; a small BERT without pretraining; an argument that transformers has added
"""

import json
import random
import runpy
import sys

import transformers.trainer
from stand_ins import HERE, stand_in


def load_dataset(name, config, data_files, split, cache_dir):
    with open(data_files) as lines:
        return [json.loads(line) for line in lines]


stand_in("datasets", load_dataset=load_dataset)
stand_in("peft")
stand_in("grad_cache")
stand_in("transformers.deepspeed", is_deepspeed_zero3_enabled=lambda: False)
stand_in("transformers.file_utils", ModelOutput=transformers.utils.ModelOutput)
sys.path.insert(0, str(HERE / "src"))
from tevatron.retriever.trainer import TevatronTrainer

compute_loss = TevatronTrainer.compute_loss
TevatronTrainer.compute_loss = lambda self, model, inputs, **kwargs: compute_loss(self, model, inputs)

WORDS = [f"word{i}" for i in range(200)]


def write(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows))


def passage(topic):
    words = random.choices(WORDS[topic * 20 : topic * 20 + 20], k=random.randint(4, 60))
    return {"docid": str(random.random()), "title": words[0], "text": " ".join(words)}


def query(number):
    topic = random.randrange(10)
    return {
        "query_id": str(number),
        "query": " ".join(random.choices(WORDS[topic * 20 : topic * 20 + 20], k=random.randint(2, 8))),
        "positive_passages": [passage(topic)],
        "negative_passages": [passage((topic + i) % 10) for i in range(1, 6)],
    }


folder = HERE / "invented"
folder.mkdir(exist_ok=True)
vocab = [f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP", "MASK")] + WORDS
(folder / "vocab.txt").write_text("\n".join(vocab))
transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder / "small_bert")
sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
transformers.BertModel(transformers.BertConfig(vocab_size=len(vocab), **sizes)).save_pretrained(folder / "small_bert")
write(folder / "train.jsonl", [query(i) for i in range(42)])
write(folder / "corpus.jsonl", [passage(i % 10) for i in range(50)])

train, encode = (str(HERE / f"src/tevatron/retriever/driver/{name}.py") for name in ("train", "encode"))
model, trained, output = (str(folder / name) for name in ("small_bert", "trained", "corpus.pkl"))
sys.argv = [train, "--model_name_or_path", model, "--output_dir", trained, "--pooling", "mean", "--report_to", "none"]
sys.argv += ["--dataset_path", str(folder / "train.jsonl"), "--train_group_size", "4", "--num_train_epochs", "3"]
sys.argv += ["--per_device_train_batch_size", "8", "--learning_rate", "1e-3", "--logging_steps", "4"]
runpy.run_path(train, run_name="__main__")
sys.argv = [encode, "--model_name_or_path", trained, "--output_dir", trained, "--pooling", "mean"]
sys.argv += ["--dataset_path", str(folder / "corpus.jsonl"), "--encode_output_path", output]
runpy.run_path(encode, run_name="__main__")
