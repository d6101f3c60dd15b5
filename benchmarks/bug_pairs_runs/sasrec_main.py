"""Run the project's main.py, which trains and evaluates the recommender, on users with long random histories.

fix: aab32611
depth: live 60
expects: TW275
where: model.py
"""

import random
import runpy
import sys
from pathlib import Path

from stand_ins import HERE

random.seed(3)
lines = []
for user in range(1, 71):
    start = random.randrange(40)
    for step in range(random.randint(14, 30)):
        lines.append(f"{user} {1 + (start + step * random.choice((1, 1, 2))) % 40}")
Path("data").mkdir(exist_ok=True)
Path("data/invented.txt").write_text("\n".join(lines) + "\n")

if __name__ == "__main__":
    script = str(HERE / "main.py")
    sys.argv = [script, "--dataset", "invented", "--train_dir", "default", "--batch_size", "16", "--maxlen", "10"]
    sys.argv += ["--hidden_units", "16", "--dropout_rate", "0.2", "--num_epochs", "20"]
    runpy.run_path(script, run_name="__main__")
