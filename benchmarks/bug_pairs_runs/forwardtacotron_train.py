"""Run the project's train_forward.py with small sizes on random spectrograms and durations.

fix: d6c57609
depth: live 60
expects: -
where: program
stands in: matplotlib, librosa, phonemizer, unidecode and inflect (only imported)
"""

import os
import pickle
import runpy
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
from stand_ins import HERE, stand_in

missing = "matplotlib matplotlib.figure matplotlib.pyplot librosa phonemizer.phonemize unidecode inflect"
for name in missing.split():
    stand_in(name, __spec__=ModuleSpec(name, None))
from utils.text.symbols import phonemes

sizes = {
    "tts_model_id": f"invented_{os.getpid()}", "data_path": "invented_data/", "forward_schedule": [(1e-3, 20, 8)],
    "forward_embed_dims": 16, "forward_prenet_dims": 16, "forward_postnet_dims": 16, "forward_durpred_conv_dims": 16,
    "forward_durpred_rnn_dims": 8, "forward_prenet_K": 3, "forward_postnet_K": 3, "forward_rnn_dims": 16,
}  # fmt: skip
settings = Path("hparams.py").read_text() + "".join(f"{name} = {value!r}\n" for name, value in sizes.items())
Path("small_hparams.py").write_text(settings)

rng = np.random.RandomState(0)
data = Path("invented_data")
for folder in ("mel", "alg"):
    (data / folder).mkdir(parents=True, exist_ok=True)
letters = [symbol for symbol in phonemes if symbol not in "_~{}"]
texts, lengths = {}, []
for index in range(50):
    item = f"item_{index}"
    texts[item] = "".join(rng.choice(letters, rng.randint(8, 30)))
    durations = rng.randint(2, 8, len(texts[item]))
    lengths.append((item, int(durations.sum())))
    tones = np.repeat(rng.randn(80, len(durations)), durations, axis=1) - 4
    np.save(data / "mel" / f"{item}.npy", tones.astype(np.float32))
    np.save(data / "alg" / f"{item}.npy", durations)
for name, content in (("train_dataset", lengths[:42]), ("val_dataset", lengths[42:]), ("text_dict", texts)):
    with (data / f"{name}.pkl").open("wb") as file:
        pickle.dump(content, file)

if __name__ == "__main__":
    script = str(HERE / "train_forward.py")
    sys.argv = [script, "--force_cpu", "--hp_file", "small_hparams.py"]
    runpy.run_path(script, run_name="__main__")
