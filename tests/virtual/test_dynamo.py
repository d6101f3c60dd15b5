from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from trainworthy.virtual import dynamo

_ASKS = """
import sys
from trainworthy.virtual.dynamo import StandIn, dynamo_put_off

with dynamo_put_off():
    assert isinstance(sys.modules["torch._dynamo"], StandIn)
    import torch._dynamo.config

    assert not isinstance(sys.modules["torch._dynamo"], StandIn)
    print(torch._dynamo.config.__name__)
"""


def test_the_real_module_takes_its_place_when_a_part_of_it_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", _ASKS], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("torch._dynamo.config", 0), done.stderr


def test_an_import_that_fails_within_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise AttributeError("no attribute 'device_count'")

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(ImportError, match=r"torch\._dynamo cannot be imported here: no attribute 'device_count'"):
        _ = dynamo.StandIn("torch._dynamo").__path__
