"""Train Joey NMT with the project's train function on the task to reverse a sequence, validate and test.

fix: 6fc9f4a9
depth: live 60
expects: TW315
where: joeynmt/training.py
stands in: matplotlib, requests (only for downloads), yaml's old default loader, an argument that the scheduler has lost
needs: torchtext==0.4.0, sacrebleu==1.2.12, portalocker, tensorboardX, six
"""

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
stand_in("matplotlib", use=lambda backend: None)
for name in ("figure", "pyplot", "backends.backend_pdf"):
    stand_in(f"matplotlib.{name}")

from joeynmt.training import train

folder = HERE / "invented"
folder.mkdir(exist_ok=True)
config = yaml.safe_load((HERE / "configs/reverse.yaml").read_text())
for part, size in {"train": 156, "dev": 14, "test": 14}.items():
    samples = generate_samples(size, high=20, maxlen=10)
    save_samples(samples, prefix=str(folder / part), ext="src")
    save_samples(samples, prefix=str(folder / part), ext="trg", reverse=True)
    config["data"][part] = str(folder / part)
config["training"] |= {
    "epochs": 3,
    "validation_freq": 10,
    "logging_freq": 5,
    "print_valid_sents": [],
    "model_dir": str(folder / "model"),
}
config["testing"]["beam_size"] = 0
(folder / "config.yaml").write_text(yaml.safe_dump(config))
train(str(folder / "config.yaml"))
