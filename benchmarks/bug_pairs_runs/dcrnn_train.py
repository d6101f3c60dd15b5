"""Run the project's dcrnn_train_pytorch.py on invented traffic speeds at a few sensors.

fix: 5509e9aa
depth: live 60
expects: TW353
where: model/pytorch/dcrnn_supervisor.py
stands in: tensorflow (only imported), PyYAML's old default for reading
"""

import pickle
import runpy
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import yaml
from stand_ins import HERE, stand_in
from tensorboard import compat

dir(compat.tf)  # tensorboard settles on its own small part of tensorflow
stand_in("tensorflow", __spec__=ModuleSpec("tensorflow", None))
yaml.load, old_load = lambda stream, Loader=yaml.SafeLoader: old_load(stream, Loader), yaml.load
sensors, window = 8, 6
rng = np.random.RandomState(1)
distances = rng.rand(sensors, sensors)
graph = np.where(distances < 0.5, np.exp(-(distances**2) / 0.1), 0).astype(np.float32)
data = Path("invented_data")
data.mkdir(exist_ok=True)
with (data / "graph.pkl").open("wb") as file:
    pickle.dump(([str(i) for i in range(sensors)], {str(i): i for i in range(sensors)}, graph), file)
times = np.arange(320)
speeds = 60 - 20 * np.sin(times / 24 * np.pi)[:, None] ** 2 * rng.rand(sensors) + rng.randn(320, sensors)
series = np.stack([speeds, np.repeat(times[:, None] / 288 % 1, sensors, axis=1)], axis=-1)
x = np.stack([series[at : at + window] for at in range(300)])
y = np.stack([series[at + window : at + 2 * window] for at in range(300)])
for name, rows in (("train", slice(0, 210)), ("val", slice(210, 250)), ("test", slice(250, 300))):
    np.savez(data / f"{name}.npz", x=x[rows], y=y[rows])
config = {
    "base_dir": "invented_logs",
    "data": {
        "batch_size": 32, "dataset_dir": str(data), "test_batch_size": 32,
        "graph_pkl_filename": str(data / "graph.pkl"),
    },
    "model": {
        "cl_decay_steps": 2000, "filter_type": "dual_random_walk", "horizon": window, "input_dim": 2, "output_dim": 1,
        "max_diffusion_step": 2, "num_nodes": sensors, "num_rnn_layers": 2, "rnn_units": 8, "seq_len": window,
        "use_curriculum_learning": True,
    },
    "train": {"base_lr": 0.01, "epochs": 4, "steps": [2, 3], "lr_decay_ratio": 0.1, "max_grad_norm": 5, "patience": 50},
}  # fmt: skip
Path("invented.yaml").write_text(yaml.safe_dump(config))

if __name__ == "__main__":
    script = str(HERE / "dcrnn_train_pytorch.py")
    sys.argv = [script, "--config_filename", "invented.yaml"]
    runpy.run_path(script, run_name="__main__")
