"""Train the chart parser with the project's script on trees of an invented small grammar.

fix: 43e22ca6
depth: live 60
expects: TW301
where: src/main.py
stands in: dynet, the program evalb, what Variable and an index into a scalar did in the torch of that time
"""

import os
import random
import runpy
import sys
import tempfile

import torch
from stand_ins import stand_in

sys.path.insert(0, "src")
stand_in("dynet")
import evaluate
import parse_pytorch

item = torch.Tensor.__getitem__
torch.Tensor.__getitem__ = lambda self, index: item(self, index) if self.dim() else self
parse_pytorch.Variable = lambda tensor, **options: tensor
parse = parse_pytorch.ChartParser.parse


def parse_with_volatile(self, sentence, gold=None):
    with torch.set_grad_enabled(gold is not None):
        return parse(self, sentence, gold)


parse_pytorch.ChartParser.parse = parse_with_volatile


def brackets(node, left=0):
    if not hasattr(node, "children"):
        return [], left + 1
    found, right = [], left
    for child in node.children:
        inner, right = brackets(child, right)
        found += inner
    return [*found, (node.label, left, right)], right


def evalb(folder, gold_trees, predicted_trees):
    matched = gold_count = predicted_count = 0
    for gold, predicted in zip(gold_trees, predicted_trees):
        gold, predicted = brackets(gold)[0], brackets(predicted)[0]
        gold_count, predicted_count = gold_count + len(gold), predicted_count + len(predicted)
        for bracket in predicted:
            if bracket in gold:
                gold.remove(bracket)
                matched += 1
    recall, precision = 100 * matched / gold_count, 100 * matched / predicted_count
    return evaluate.FScore(recall, precision, 2 * matched * 100 / (gold_count + predicted_count))


evaluate.evalb = evalb

WORDS = {
    "DT": ["the", "a", "this", "every"],
    "JJ": ["old", "red", "small", "tired"],
    "NN": ["dog", "house", "market", "man", "letter", "river"],
    "VBD": ["saw", "liked", "left", "built"],
    "IN": ["near", "with", "under", "from"],
    "RB": ["often", "slowly"],
}


def leaf(tag):
    return f"({tag} {random.choice(WORDS[tag])})"


def noun(depth):
    plain = f"(NP {leaf('DT')} {leaf('JJ') + ' ' if random.random() < 0.4 else ''}{leaf('NN')})"
    return f"(NP {plain} (PP {leaf('IN')} {noun(depth + 1)}))" if random.random() < 0.3 - 0.1 * depth else plain


def verb():
    adverb = f"(ADVP {leaf('RB')}) " if random.random() < 0.3 else ""
    phrase = f" (PP {leaf('IN')} {noun(1)})" if random.random() < 0.3 else ""
    return f"(VP {adverb}{leaf('VBD')} {noun(1)}{phrase})"


def write(path, count):
    with open(path, "w") as out:
        out.writelines(f"(TOP (S {noun(0)} {verb()} (. .)))\n" for _ in range(count))


random.seed(1)
torch.manual_seed(1)
folder = tempfile.mkdtemp()
train, dev = os.path.join(folder, "train"), os.path.join(folder, "dev")
write(train, 60)
write(dev, 16)
sys.argv = ["main.py", "train", "--parser-type", "chart", "--use-pytorch", "--numpy-seed", "1", "--epochs", "2"]
sys.argv += ["--tag-embedding-dim", "10", "--word-embedding-dim", "10", "--lstm-layers", "1", "--lstm-dim", "20"]
sys.argv += ["--label-hidden-dim", "20", "--batch-size", "5", "--checks-per-epoch", "2"]
sys.argv += ["--model-path-base", os.path.join(folder, "model"), "--train-path", train, "--dev-path", dev]
runpy.run_path("src/main.py", run_name="__main__")
