"""Train a small transformer of Joey NMT, average its last checkpoints with the project's script and test the result.

fix: da5a024a
depth: live 60
expects: -
where: program
stands in: matplotlib, requests (only for downloads), pkg_resources, torch's old default for loading whole objects,
  yaml's old default loader, an argument that the scheduler has lost
needs: torchtext==0.4.0, sacrebleu==1.2.12, portalocker, six
"""

import os
import runpy
import sys
from types import SimpleNamespace

os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
import yaml
from scripts.generate_reverse_task import generate_samples, save_samples
from stand_ins import HERE, stand_in
from torch.optim import lr_scheduler


class ReduceLROnPlateau(lr_scheduler.ReduceLROnPlateau):
    def __init__(self, *args, verbose=False, **kwargs):
        super().__init__(*args, **kwargs)


lr_scheduler.ReduceLROnPlateau = ReduceLROnPlateau
yaml.load.__defaults__ = (yaml.SafeLoader,)
stand_in("requests")
stand_in("pkg_resources", require=lambda name: [SimpleNamespace(version="1.2")])
stand_in("matplotlib", use=lambda backend: None)
for name in ("figure", "pyplot", "backends.backend_pdf"):
    stand_in(f"matplotlib.{name}")

from joeynmt.prediction import test
from joeynmt.training import train

folder = HERE / "invented"
folder.mkdir(exist_ok=True)
config = yaml.safe_load((HERE / "configs/transformer_reverse.yaml").read_text())
for part, size in {"train": 200, "dev": 14, "test": 14}.items():
    samples = generate_samples(size, high=20, maxlen=12)
    save_samples(samples, prefix=str(folder / part), ext="src")
    save_samples(samples, prefix=str(folder / part), ext="trg", reverse=True)
    config["data"][part] = str(folder / part)
config["training"] |= {
    "epochs": 4,
    "validation_freq": 5,
    "logging_freq": 5,
    "early_stopping_metric": "loss",
    "keep_last_ckpts": 3,
    "print_valid_sents": [],
    "model_dir": str(folder / "model"),
    "overwrite": True,
}
(folder / "config.yaml").write_text(yaml.safe_dump(config))
train(str(folder / "config.yaml"))

checkpoints = sorted(map(str, (folder / "model").glob("[0-9]*.ckpt")))
averaged = str(folder / "averaged.ckpt")
script = str(HERE / "scripts/average_checkpoints.py")
sys.argv = [script, "--inputs", *checkpoints, "--output", averaged]
runpy.run_path(script, run_name="__main__")
config["data"] |= {f"{side}_vocab": str(folder / f"model/{side}_vocab.txt") for side in ("src", "trg")}
(folder / "config.yaml").write_text(yaml.safe_dump(config))
test(str(folder / "config.yaml"), ckpt=averaged, output_path=str(folder / "translated"))
