"""Right projects of several files, which no single program of the case files shows: nothing is said of them."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from trainworthy.check.config import Config
from trainworthy.check.run import check_paths

# A folder of a library keeps a model that somebody pickled whole, in the mode that they wanted.
PICKLED_MODEL = {
    "filter.py": """
        import numpy as np
        import torch


        class SliceFilter:
            def __init__(self, path=None, device="cpu"):
                self.path = path
                if self.path:
                    self.classifier = torch.load(path, map_location=device, weights_only=False)

            def __call__(self, images):
                if self.path:
                    return np.all([int(self.classifier(torch.from_numpy(image)[None])) for image in images])
                return True
        """,
    "segment.py": """
        from torch import nn


        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.drop = nn.Dropout(0.1)

            def forward(self, x):
                return self.drop(x)
        """,
}


@pytest.mark.parametrize("project", [PICKLED_MODEL], ids=["pickled model"])
def test_nothing_is_said(project: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    for name, text in project.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(dedent(text), encoding="utf-8")
    assert [one.code for one in check_paths([str(tmp_path)], Config()).findings if one.severity != "hint"] == []
