"""Train a small translator to sort digits by the project's command, with a validation at each checkpoint.

fix: 95951767
depth: live 60
expects: -
where: program
stands in: mxnet (imported, but not used to train), portalocker, sacrebleu
"""

import multiprocessing.pool  # noqa: F401 - data_io counts on it
import random
import sys
import tempfile
from pathlib import Path

from stand_ins import stand_in

stand_in("mxnet", __version__="1.8.0", __file__="mxnet/__init__.py")
parts = "context gluon gluon.loss gluon.nn gluon.nn.activations gluon.parameter init initializer io nd npx random"
for name in parts.split():
    stand_in("mxnet." + name)
stand_in("mxnet.np", inf=float("inf"))
stand_in("portalocker")
stand_in("sacrebleu")
import sockeye.train_pt

folder = Path(tempfile.mkdtemp())
random.seed(13)
for part, lines in (("train", 200), ("dev", 30)):
    sources = [random.choices("0123456789", k=random.randint(2, 9)) for _ in range(lines)]
    (folder / f"{part}.src").write_text("".join(" ".join(digits) + "\n" for digits in sources))
    (folder / f"{part}.tgt").write_text("".join(" ".join(sorted(digits)) + "\n" for digits in sources))

train_arguments = f"""
    --source {folder}/train.src --target {folder}/train.tgt --output {folder}/model --use-cpu --seed 13
    --validation-source {folder}/dev.src --validation-target {folder}/dev.tgt --max-seq-len 10 --no-bucketing
    --encoder transformer --decoder transformer --num-layers 2 --transformer-attention-heads 2
    --transformer-model-size 16 --num-embed 16 --transformer-feed-forward-num-hidden 32
    --batch-type sentence --batch-size 16 --max-num-epochs 3 --checkpoint-interval 12 --decode-and-evaluate 0
    --optimizer adam --initial-learning-rate 0.01
"""
sys.argv = [sockeye.train_pt.__file__, *train_arguments.split()]
sockeye.train_pt.main()
