"""Train TabFastFormer on an invented table with the project's trainer, validated after each epoch, and predict with it.

fix: 49c163fe
depth: live 60
expects: -
where: program
stands in: pandas, torchvision, cv2, imutils, spacy and gensim (imported, but not used on a table)
needs: einops, wrapt
"""

import numpy as np
import torch._dynamo  # noqa: F401 - this and torchmetrics ask what is installed, so before the stand-ins
import torchmetrics  # noqa: F401
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from stand_ins import stand_in

for name in ("pandas", "pandas.options", "torchvision", "torchvision.models._api", "torchvision.transforms"):
    stand_in(name)
for name in ("cv2", "imutils", "spacy", "spacy.symbols", "gensim.utils"):
    stand_in(name)
from pytorch_widedeep import Trainer
from pytorch_widedeep.metrics import Accuracy
from pytorch_widedeep.models import TabFastFormer, WideDeep

rng = np.random.default_rng(0)
rows = 420
sizes = {"education": 8, "workclass": 5, "occupation": 12, "relationship": 6}
continuous_cols = ["age", "hours_per_week"]
columns = [rng.integers(1, size + 1, rows) for size in sizes.values()] + [rng.normal(size=rows) for _ in range(2)]
X_tab = np.stack(columns, axis=1).astype("float32")
target = (X_tab[:, 0] / 8 + X_tab[:, 4] + rng.normal(0, 0.5, rows) > 0.6).astype(int)
X_train, X_test, y_train, y_test = train_test_split(X_tab, target, test_size=0.2, random_state=0)

tab_model = TabFastFormer(
    column_idx={name: i for i, name in enumerate([*sizes, *continuous_cols])},
    cat_embed_input=list(sizes.items()),
    continuous_cols=continuous_cols,
    input_dim=16,
    n_heads=4,
    n_blocks=2,
    mlp_hidden_dims=[32, 16],
)
model = WideDeep(deeptabular=tab_model)
trainer = Trainer(model, objective="binary", metrics=[Accuracy], num_workers=0)
trainer.fit(X_tab=X_train, target=y_train, n_epochs=3, batch_size=32, val_split=0.2)
print("test accuracy", accuracy_score(y_test, trainer.predict(X_tab=X_test, batch_size=32)))
