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


# Who calls the evaluation turns gradients off.
CALLED_WITHOUT_GRADIENTS = {
    "scoring.py": """
        import torch


        def validation(model, criterion, loader):
            total = torch.zeros(())
            for x, y in loader:
                total += criterion(model(x), y)
            return total
        """,
    "train.py": """
        import torch

        from scoring import validation


        def train(model, criterion, optimizer, loader, held_out):
            for x, y in loader:
                model.train()
                optimizer.zero_grad()
                criterion(model(x), y).backward()
                optimizer.step()
                model.eval()
                with torch.no_grad():
                    print(validation(model, criterion, held_out))
        """,
}

# A test makes a model with a layer that nothing calls.
LAYER_LEFT_ALONE_IN_A_TEST = {
    "tests/test_counter.py": """
        import torch
        from torch import nn


        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.used = nn.Linear(4, 4)
                self.other = nn.Linear(4, 4)

            def forward(self, x):
                return self.used(x)


        def test_counts_what_is_called():
            assert Model()(torch.rand(2, 4)).shape == (2, 4)
        """,
}

EMBEDDINGS_BESIDE_OTHERS = {
    "other.py": """
        from torch import nn

        net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
        """,
    "paths.py": """
        import torch
        from torch_geometric.nn import MetaPath2Vec


        @torch.no_grad()
        def save_embedding(model):
            for kind in ("paper", "author"):
                torch.save(model(kind).cpu(), f"{kind}.pt")


        def main(graph, paths):
            model = MetaPath2Vec(graph, 128, paths, 64, 7).to("cuda")
            optimizer = torch.optim.SparseAdam(list(model.parameters()), lr=0.01)
            for positive, negative in model.loader(batch_size=128, shuffle=True):
                optimizer.zero_grad()
                model.loss(positive, negative).backward()
                optimizer.step()
            save_embedding(model)


        if __name__ == "__main__":
            main(*torch.load("graph.pt", weights_only=True))
        """,
}
ONE_BY_ONE = {
    "data.py": """
        from torch.utils.data import DataLoader


        def made_loader(data, train, size):
            if train:
                return DataLoader(data, batch_size=size, shuffle=True)
            return DataLoader(data, batch_size=1, shuffle=False)
        """,
    "validation.py": """
        import torch
        import torch.nn.functional as F


        def validate(model, loader):
            model.eval()
            total = 0.0
            with torch.no_grad():
                for x, y in loader:
                    total += F.cross_entropy(model(x), y).item()
            return total / len(loader.dataset)
        """,
    "run.py": """
        from data import made_loader
        from validation import validate


        def run(model, data):
            loader = made_loader(data, False, 8)
            print(validate(model, loader))
        """,
}

PROJECTS = {
    "pickled model": PICKLED_MODEL,
    "called without gradients": CALLED_WITHOUT_GRADIENTS,
    "embeddings beside other programs": EMBEDDINGS_BESIDE_OTHERS,
    "loss of one sample after the other": ONE_BY_ONE,
    "layer left alone in a test": LAYER_LEFT_ALONE_IN_A_TEST,
}


@pytest.mark.parametrize("project", PROJECTS.values(), ids=PROJECTS)
def test_nothing_is_said(project: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    for name, text in project.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(dedent(text), encoding="utf-8")
    assert [one.code for one in check_paths([str(tmp_path)], Config()).findings if one.severity != "hint"] == []


def test_evaluation_is_reported_if_one_caller_keeps_gradients_on(tmp_path: Path) -> None:
    project = {
        **CALLED_WITHOUT_GRADIENTS,
        "report.py": """
        from scoring import validation


        def report(model, criterion, loader):
            return validation(model, criterion, loader)
        """,
    }
    (tmp_path / "pyproject.toml").write_text("")
    for name, text in project.items():
        (tmp_path / name).write_text(dedent(text), encoding="utf-8")
    found = check_paths([str(tmp_path)], Config()).findings
    assert [(one.code, Path(one.place.path).name) for one in found] == [("TW703", "scoring.py")]
