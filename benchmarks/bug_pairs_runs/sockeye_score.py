"""Train a small translator to sort digits and score the test sentences with it, by the project's commands.

fix: 23ffd298
depth: live 60
expects: -
where: program
stands in: sacrebleu
"""

import random
import sys
import tempfile
from pathlib import Path

from stand_ins import stand_in

stand_in("sacrebleu")
import sockeye.score
import sockeye.train

folder = Path(tempfile.mkdtemp())
random.seed(13)
for part, lines in (("train", 200), ("dev", 30), ("test", 45)):
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
sys.argv = [sockeye.train.__file__, *train_arguments.split()]
sockeye.train.main()

score_arguments = f"""
    --model {folder}/model --source {folder}/test.src --target {folder}/test.tgt --output {folder}/scores
    --use-cpu --batch-size 14 --output-type pair_with_score
"""
sys.argv = [sockeye.score.__file__, *score_arguments.split()]
sockeye.score.main()
print((folder / "scores").read_text())
