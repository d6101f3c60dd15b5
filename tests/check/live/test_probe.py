"""Probes of a step: each finds its fault on the marked line, is silent on the look-alike, and changes nothing."""

from __future__ import annotations

import copy
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import trainworthy as tw
from check.live.run import marked_lines
from trainworthy.check.rule import Rule, all_rules
from trainworthy.errors import UsageError


def program_of(rule: Rule, which: str) -> str:
    """Return a rule's program for the probe, if it has one."""
    module = sys.modules[rule.module]
    own = getattr(module, which) if getattr(module, "SEEN_BY", "") == "probe" else ""
    return str(getattr(module, f"PROBE_{which}", own))


PROBED = [rule for rule in all_rules().values() if program_of(rule, "BAD")]


@pytest.mark.parametrize("rule", PROBED, ids=lambda rule: rule.code)
@pytest.mark.parametrize("which", ["BAD", "GOOD"])
def test_programs_are_found_on_the_marked_lines(rule: Rule, which: str, tmp_path: Path) -> None:
    source, path = program_of(rule, which), tmp_path / "program.py"
    path.write_text(source, encoding="utf-8")
    names: dict[str, Any] = {}
    exec(compile(source, str(path), "exec"), names)
    found = [(f.code, f.place.line) for f in names["found"].findings]
    assert found == [(rule.code, line) for line in marked_lines(source, rule.code)]
    assert bool(found) == (which == "BAD")


# --- small models, right and wrong ----------------------------------------------------------------


def stepping(model: nn.Module, loss: Any, **options: Any) -> Any:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(*batch: Any) -> None:
        value = loss(model, *batch)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    return step


def classify(model: nn.Module, x: Any, y: Any) -> torch.Tensor:
    return F.cross_entropy(model(x), y)


class Recurrent(nn.Module):
    def __init__(self, *, batch_first: bool) -> None:
        super().__init__()
        self.rnn = nn.LSTM(5, 7, batch_first=batch_first)
        self.head = nn.Linear(7, 3)

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(self.rnn(x)[0][:, -1])


class SequenceFirst(Recurrent):
    def forward(self, x: torch.Tensor) -> Any:
        return self.head(self.rnn(x)[0])


class Decoder(nn.Module):
    def __init__(self, attention: str) -> None:
        super().__init__()
        self.embed, self.qkv, self.head = nn.Embedding(30, 16), nn.Linear(16, 48), nn.Linear(16, 30)
        self.attention = attention

    def forward(self, ids: torch.Tensor) -> Any:
        x, length = self.embed(ids), ids.shape[1]
        q, k, v = (t.unflatten(-1, (2, 8)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        later = torch.triu(torch.ones(length, length, dtype=torch.bool))
        mask = {"causal": ~later.triu(1), "inverted": later, "none": None}[self.attention]
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.head(x + seen.transpose(1, 2).flatten(2))


class Encoder(nn.Module):
    def __init__(self, *, inverted: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(30, 16, padding_idx=0)
        layer = nn.TransformerEncoderLayer(16, 2, 32, 0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head, self.inverted = nn.Linear(16, 5), inverted

    def forward(self, ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        hidden = (attention_mask == 0) != self.inverted
        return self.head(self.layers(self.embed(ids), src_key_padding_mask=hidden))


class Centred(nn.Module):
    """Subtracts a running mean, which a checkpoint holds or not."""

    def __init__(self, *, persistent: bool) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.register_buffer("mean", torch.zeros(4), persistent=persistent)

    def forward(self, x: torch.Tensor) -> Any:
        self.mean: torch.Tensor
        if self.training:
            self.mean.lerp_(x.mean(0).detach(), 0.1)
        return self.head(x - self.mean)


class Drops(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> Any:
        return self.b(F.dropout(self.a(x), 0.5, training=self.training))


class DropsAlways(Drops):
    def forward(self, x: torch.Tensor) -> Any:
        return self.b(F.dropout(self.a(x), 0.5))


def images() -> tuple[Any, ...]:
    return torch.randn(8, 3, 8, 8), torch.randint(3, (8,))


def rows() -> tuple[Any, ...]:
    return torch.randn(8, 4), torch.randint(3, (8,))


def sequences() -> tuple[Any, ...]:
    return torch.randn(6, 9, 5), torch.randint(3, (6,))


def tokens() -> torch.Tensor:
    return torch.randint(0, 30, (5, 17))


def padded(*, counted: bool = False, all_rows: bool = False) -> tuple[Any, ...]:
    ids = torch.randint(1, 30, (6, 12))
    ids[: 6 if all_rows else 3, 8:] = 0
    tags = torch.randint(5, (6, 12))
    return ids, (ids != 0).long(), tags if counted else tags.masked_fill(ids == 0, -100)


def next_token(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(model(ids[:, :-1]).transpose(1, 2), ids[:, 1:])


def second_next(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(model(ids[:, :-2]).transpose(1, 2), ids[:, 2:])


def same_token(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(model(ids).transpose(1, 2), ids)


def tags(model: nn.Module, ids: Any, mask: Any, targets: Any) -> torch.Tensor:
    return F.cross_entropy(model(ids, mask).transpose(1, 2), targets)


def of_each_position(model: nn.Module, x: Any, y: Any) -> torch.Tensor:
    return F.cross_entropy(model(x).flatten(0, 1), y.flatten())


def crossed(model: nn.Module, ids: Any) -> torch.Tensor:
    losses = F.cross_entropy(model(ids).transpose(1, 2), ids.roll(-1, 1), reduction="none")
    return (losses * losses.T).mean()


def straight(model: nn.Module, ids: Any) -> torch.Tensor:
    return F.cross_entropy(model(ids).transpose(1, 2), ids.roll(-1, 1), reduction="none").pow(2).mean()


def net(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers)


# name: (codes, model, loss, batch, options)
CASES: dict[str, tuple[list[str], Any, Any, Any, dict[str, Any]]] = {
    "mlp": ([], lambda: net(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3)), classify, rows, {}),
    "cnn with norms": (
        [], lambda: net(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)),
        classify, images, {},
    ),
    "softmax over samples": (
        ["TW150"], lambda: net(nn.Linear(4, 8), nn.Softmax(dim=0), nn.Linear(8, 3)), classify, rows, {},
    ),
    "batch first": ([], lambda: Recurrent(batch_first=True), classify, sequences, {}),
    "batch first forgotten": (["TW150"], lambda: Recurrent(batch_first=False), classify, sequences, {}),
    "sequence first": (
        [], lambda: SequenceFirst(batch_first=False), of_each_position,
        lambda: (torch.randn(9, 6, 5), torch.randint(3, (9, 6))), {"batch_dim": 1},
    ),
    "decoder": ([], lambda: Decoder("causal"), next_token, lambda: (tokens(),), {"causal": True}),
    "no mask": (["TW250"], lambda: Decoder("none"), next_token, lambda: (tokens(),), {"causal": True}),
    "mask of the other kind": (
        ["TW250"], lambda: Decoder("inverted"), next_token, lambda: (tokens(),), {"causal": True},
    ),
    "shifted twice": (["TW251"], lambda: Decoder("causal"), second_next, lambda: (tokens(),), {"causal": True}),
    "not shifted": (["TW252"], lambda: Decoder("causal"), same_token, lambda: (tokens(),), {"causal": True}),
    "encoder": ([], Encoder, tags, padded, {}),
    "mask inverted": (["TW221"], lambda: Encoder(inverted=True), tags, lambda: padded(all_rows=True), {}),
    "padding counted": (["TW253"], Encoder, tags, lambda: padded(counted=True), {}),
    "dropout": ([], Drops, classify, rows, {}),
    "dropout alive": (["TW357"], DropsAlways, classify, rows, {}),
    "running mean": ([], lambda: Centred(persistent=True), classify, rows, {}),
    "running mean not saved": (["TW620"], lambda: Centred(persistent=False), classify, rows, {}),
    "batch is time": (["TW120"], lambda: Decoder("causal"), crossed, lambda: (torch.randint(30, (13, 13)),), {}),
    "batch as long as time": ([], lambda: Decoder("causal"), straight, lambda: (torch.randint(30, (13, 13)),), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_fault_is_found_and_the_look_alike_is_not(name: str) -> None:
    codes, make, loss, batch, options = CASES[name]
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = tw.probe(stepping(make(), loss), *batch(), **options)
    assert [f.code for f in result.findings] == codes, str(result)


def test_two_optimizers_and_a_scaler_are_no_fault_but_clipping_scaled_gradients_is() -> None:
    torch.manual_seed(0)
    maker, judge = net(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 6)), net(nn.Linear(6, 8), nn.Linear(8, 1))
    makes, judges = (torch.optim.Adam(m.parameters()) for m in (maker, judge))
    bce = nn.BCEWithLogitsLoss()

    def gan(x: torch.Tensor) -> None:
        fake, ones = maker(torch.randn(len(x), 4)), torch.ones(len(x), 1)
        judges.zero_grad()
        (bce(judge(x), ones) + bce(judge(fake.detach()), 1 - ones)).backward()
        judges.step()
        makes.zero_grad()
        bce(judge(fake), ones).backward()
        makes.step()

    assert tw.probe(gan, torch.randn(8, 6)).findings == ()

    model = nn.Linear(4, 1)
    optimizer, scaler = torch.optim.SGD(model.parameters(), lr=0.1), torch.amp.GradScaler("cpu")

    def scaled(x: torch.Tensor, *, unscale: bool) -> None:
        optimizer.zero_grad()
        scaler.scale(model(x).pow(2).mean()).backward()
        if unscale:
            scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()

    state = {"scaler": scaler}
    assert tw.probe(lambda x: scaled(x, unscale=True), torch.randn(8, 4), state=state).findings == ()
    found = tw.probe(lambda x: scaled(x, unscale=False), torch.randn(8, 4), state=state).findings
    assert [f.code for f in found] == ["TW209"]


def test_tokens_of_short_parts_weigh_more_unless_all_are_divided_by_one_number() -> None:
    torch.manual_seed(0)
    model = Encoder()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    ids, mask, targets = padded()
    targets[:2, 4:] = -100

    def accumulate(parts: Any, *, together: bool) -> None:
        optimizer.zero_grad()
        total = sum(int((t != -100).sum()) for _, _, t in parts)
        for part in parts:
            loss = tags(model, *part)
            weight = int((part[2] != -100).sum()) / total if together else 1 / len(parts)
            (loss * weight).backward()
        optimizer.step()

    def probe(*, together: bool) -> list[str]:
        def whole(*batch: Any) -> None:
            accumulate([batch], together=together)

        def parts(batches: Any) -> None:
            accumulate(batches, together=together)

        return [f.code for f in tw.probe(whole, ids, mask, targets, accumulate=parts).findings]

    assert probe(together=True) == []
    assert probe(together=False) == ["TW322"]


def test_nothing_is_changed() -> None:
    torch.manual_seed(0)
    model = net(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    batch = rows()

    def step(*batch: Any) -> None:
        optimizer.zero_grad()
        classify(model, *batch).backward()
        optimizer.step()
        schedule.step()

    step(*batch)
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict(), schedule.state_dict(), batch))
    random = torch.get_rng_state()
    result = tw.probe(step, *batch, state={"schedule": schedule}, accumulate=lambda parts: None)
    after = (model.state_dict(), optimizer.state_dict(), schedule.state_dict(), batch)
    assert result.findings == ()
    assert "accumulation" in result.skipped
    assert torch.equal(random, torch.get_rng_state())
    assert str(before) == str(after)
    assert all(torch.equal(a, b) for a, b in zip(before[0].values(), after[0].values(), strict=True))


def test_a_step_without_a_loss_says_what_to_return() -> None:
    with pytest.raises(UsageError, match="ran no backward pass"):
        tw.probe(lambda: None)
    with pytest.raises(UsageError, match="save and load"):
        tw.probe(lambda: None, save=print)


def test_a_loss_alone_is_a_step() -> None:
    model = nn.Linear(4, 1)
    result = tw.probe(lambda x: model(x).pow(2).mean(), torch.randn(8, 4))
    assert result.findings == ()
    assert result.skipped["resume"] == "the step moves no optimizer"
    assert "nothing found" in str(result)
    assert model.weight.grad is None


def test_what_only_an_optimizer_holds_is_put_back_and_compared() -> None:
    model, temperature = nn.Linear(4, 1), torch.zeros((), requires_grad=True)
    optimizers = [torch.optim.Adam(model.parameters(), lr=0.1), torch.optim.Adam([temperature], lr=0.1)]

    def step(x: torch.Tensor) -> None:
        loss = temperature.exp() * model(x).pow(2).mean()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()

    def save(path: str) -> None:
        torch.save([model.state_dict(), *(one.state_dict() for one in optimizers)], path)

    def load(path: str) -> None:
        state, *others = torch.load(path)
        model.load_state_dict(state)
        for optimizer, other in zip(optimizers, others, strict=True):
            optimizer.load_state_dict(other)

    result = tw.probe(step, torch.randn(8, 4), save=save, load=load)
    assert temperature.item() == 0
    (finding,) = result.findings
    assert finding.code == "TW620"
    assert "parameter 0" in finding.message
