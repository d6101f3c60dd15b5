"""The stop rule, in this process: after N steps a script reaches its evaluation and ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, get_worker_info

from trainworthy.virtual.gpu import VirtualGpu
from trainworthy.virtual.session import RehearsalComplete, Session


def run(script: Callable[[], Any], steps: int = 2) -> tuple[Session, bool]:
    """Run a script and tell whether it had to be ended."""
    gpu = VirtualGpu()
    session = Session(gpu, steps=steps)
    with gpu, session.installed():
        try:
            script()
        except RehearsalComplete:
            return session, True
    return session, False


def make(width: int = 4) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Linear(width, 2).cuda()
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


def loader(samples: int = 64, **options: Any) -> DataLoader[Any]:
    return DataLoader(
        TensorDataset(torch.randn(samples, 4), torch.zeros(samples, dtype=torch.long)), batch_size=4, **options
    )


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor) -> None:
    optimizer.zero_grad()
    model(x.cuda()).sum().backward()
    optimizer.step()


def test_epochs_are_cut_and_evaluation_is_reached_once() -> None:
    seen: list[str] = []

    def script() -> None:
        model, optimizer = make()
        train, test = loader(), loader()
        assert len(train) == 16
        for epoch in range(5):
            model.train()
            for x, _ in train:
                step(model, optimizer, x)
                seen.append("step")
            model.eval()
            with torch.no_grad():
                for x, _ in test:
                    model(x.cuda())
                    seen.append("eval")
            seen.append(f"epoch {epoch}")

    session, ended = run(script)
    assert seen == ["step", "step", "eval", "eval", "epoch 0"]
    assert (session.completed, ended) == (2, True)


def test_no_grad_inside_the_loop_is_evaluation_too() -> None:
    seen: list[int] = []

    def script() -> None:
        model, optimizer = make()
        model.eval()
        for index, (x, _) in enumerate(loader()):
            with torch.no_grad():
                model(x.cuda())
            seen.append(index)
        model.train()
        for x, _ in loader():
            step(model, optimizer, x)

    session, ended = run(script)
    assert (seen, session.completed, ended) == ([0, 1], 2, False)


def test_evaluation_inside_the_training_loop_does_not_cut_it() -> None:
    def script() -> None:
        model, optimizer = make()
        for x, _ in loader():
            step(model, optimizer, x)
            model.eval()
            with torch.no_grad():
                for other, _ in loader():
                    model(other.cuda())
            model.train()

    session, _ = run(script, steps=5)
    assert session.completed == 5


def test_accuracy_on_the_training_loader_sees_batches() -> None:
    counted: list[int] = []

    def script() -> None:
        model, optimizer = make()
        train = loader()
        for _ in range(3):
            for x, _ in train:
                step(model, optimizer, x)
            correct = total = 0
            for x, _ in train:
                with torch.no_grad():
                    correct += int(model(x.cuda()).argmax(1).eq(0).sum())
                total += len(x)
            counted.append(total)

    _, ended = run(script)
    assert ended
    assert counted == [8]


def test_endless_loop_without_loader_ends() -> None:
    def script() -> None:
        model, optimizer = make()
        while True:
            step(model, optimizer, torch.randn(3, 4))

    session, ended = run(script, steps=3)
    assert (session.completed, ended) == (3, True)


def test_loop_without_modules_ends() -> None:
    def script() -> None:
        weight = torch.randn(4, 4, device="cuda", requires_grad=True)
        optimizer = torch.optim.SGD([weight], lr=0.1)
        while True:
            (torch.randn(2, 4, device="cuda") @ weight).sum().backward()
            optimizer.step()

    session, ended = run(script)
    assert (session.completed, ended) == (2, True)


def test_several_optimizers_make_rounds() -> None:
    def script() -> None:
        (g, g_optimizer), (d, d_optimizer) = make(), make(2)
        while True:
            d_optimizer.zero_grad()
            d(g(torch.randn(3, 4).cuda()).detach()).sum().backward()
            d_optimizer.step()
            g_optimizer.zero_grad()
            d(g(torch.randn(3, 4).cuda())).sum().backward()
            g_optimizer.step()

    session, ended = run(script)
    assert (session.completed, ended) == (2, True)


def test_equal_evaluation_forwards_run_twice() -> None:
    runs: list[int] = []

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> dict[str, Any]:
            runs.append(len(x))
            out = self.layer(x)
            return {"logits": out, "pair": (out.sum(), None), "size": len(x)}

    outputs: list[dict[str, Any]] = []

    def script() -> None:
        model = Net().cuda().eval()
        with torch.no_grad():
            for size in [3] * 50 + [5] * 50:
                outputs.append(model(torch.randn(size, 4, device="cuda")))
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            model(torch.randn(3, 4, device="cuda"))["logits"].sum().backward()
            optimizer.step()

    run(script)
    assert runs == [3, 3, 5, 5, 3, 3]
    assert [o["logits"].shape[0] for o in outputs] == [3] * 50 + [5] * 50
    assert outputs[40]["logits"] is not outputs[41]["logits"]
    assert (outputs[40]["pair"][0].shape, outputs[40]["size"]) == ((), 3)


def test_real_models_are_never_remembered() -> None:
    values: list[float] = []

    def script() -> None:
        model = nn.Linear(4, 1).eval()
        model.weight, model.bias = (nn.Parameter(torch.ones(size)) for size in ((1, 4), (1,)))  # real
        with torch.no_grad():
            for value in range(6):
                values.append(float(model(torch.full((1, 4), float(value))).sum()))

    run(script)
    assert len(set(values)) == 6


def test_workers_are_one_worker_in_this_process() -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Any:
            info = get_worker_info()
            assert info is not None
            for i in range(info.id, 100, info.num_workers):
                yield torch.full((4,), float(i))

    started: list[int] = []

    def script() -> None:
        model, optimizer = make()
        stream = DataLoader(Stream(), batch_size=2, num_workers=2, worker_init_fn=started.append, prefetch_factor=2)
        assert stream.num_workers == 2
        for x in stream:
            step(model, optimizer, x)
        assert get_worker_info() is None

    session, _ = run(script)
    assert (session.completed, started) == (2, [0])
    assert any("in the process of the rehearsal" in text for text in session.gpu.assumptions)


@pytest.mark.parametrize("persistent", [False, True])
def test_persistent_workers_can_start_again(persistent: bool) -> None:
    def script() -> None:
        model, optimizer = make()
        train = loader(8, num_workers=2, persistent_workers=persistent)
        for _ in range(3):
            for x, _ in train:
                step(model, optimizer, x)

    session, _ = run(script, steps=5)
    assert session.completed == 5


def test_process_is_as_it_was() -> None:
    before = (nn.Module.__call__, DataLoader.__iter__, DataLoader._get_iterator, torch.cuda.is_available())
    run(lambda: step(*make(), torch.randn(2, 4)))
    assert (nn.Module.__call__, DataLoader.__iter__, DataLoader._get_iterator, torch.cuda.is_available()) == before
    assert len(list(loader())) == 16
