"""Prepare the project's example sentences and train its small translation transformer on a part of them.

fix: c31e163e
depth: live 60
expects: TW153
where: trainer.py
stands in: the byte mask of old torch is made a bool mask
"""

import runpy
import sys

import models

causal = models.subsequent_masking
models.subsequent_masking = lambda x: causal(x).bool()

sys.argv = ["prepare_datasets.py"]
runpy.run_path("prepare_datasets.py", run_name="__main__")

sys.argv = ["train.py", "--positional_encoding", "--dataset_limit", "200", "--vocabulary_size", "400"]
sys.argv += ["--d_model", "32", "--d_ff", "64", "--layers_count", "2", "--batch_size", "24", "--epochs", "3"]
sys.argv += ["--device", "cpu"]
runpy.run_path("train.py", run_name="__main__")
