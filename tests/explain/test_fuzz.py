"""Whatever is typed: an answer or one message, soon, never a traceback; and drawn answers are what torch prints."""

from __future__ import annotations

import argparse
import contextlib
import io
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainworthy.cli.main import main
from trainworthy.errors import ShapeError
from trainworthy.explain import Explanation, all_subjects, answer

NASTY = [
    "0", "1", "-1", "7", "3", "4096", "2,3", "(2,3,4)", "()", "", "(-1,2)", "-1,2", "0,3", "0,1", "1,0", "0,0,0",
    "1e30", "1e-300", "-1e-300", "1.7e308", "nan", "inf", "abc", "same", "bf16", "'", "💥", "9" * 30, "999999999",
    "9223372036854775807", "9223372036854775807,9223372036854775807", ",".join(["1"] * 64), "[[0,1],[1,0]]",
    "[[2],[0]]", "[]", "[[]]", "[[0],[1,2]]", "[99999999999]", "[-5]", "k3s2,k3", "k999999999s999999999x999", "k9x9999",
]  # fmt: skip


def options_of(name: str) -> list[argparse.Action]:
    parser = argparse.ArgumentParser(add_help=False)
    all_subjects()[name].arguments(parser)
    return parser._actions


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    name = draw(st.sampled_from(sorted(all_subjects())))
    words = [name]
    for action in options_of(name):
        if draw(st.integers(0, 2)):
            continue
        known = [str(choice) for choice in action.choices] if action.choices else NASTY
        value = draw(st.sampled_from(known))
        if not action.option_strings:
            words.append(value)
        elif action.nargs == 0:
            words.append(action.option_strings[0])
        else:
            words.append(f"{action.option_strings[0]}={value}")
    return words


@settings(max_examples=600)
@given(lines())
def test_an_answer_or_one_message(words: list[str]) -> None:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(["explain", *words])
        except SystemExit as left:
            code = int(left.code or 0)
    assert code in (0, 1, 2)
    assert out.getvalue() if not err.getvalue() else code
    assert "Traceback" not in err.getvalue()


small = st.integers(1, 9)
axes = st.integers(1, 3)


def proven(name: str, *words: object, **options: object) -> Explanation | None:
    """Explain and run the snippet; None if the shapes do not go together, which the snippet proves, too."""
    try:
        it = answer(name, *words, **options)
    except ShapeError:
        return None
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(it.snippet, "<snippet>", "exec"), {"__name__": "snippet"})
    return it


def text(*sizes: int) -> str:
    return ",".join(map(str, sizes))


@settings(max_examples=150)
@given(st.lists(st.lists(st.integers(0, 3), max_size=4).map(tuple), min_size=1, max_size=3))
def test_broadcast(shapes: list[tuple[int, ...]]) -> None:
    proven("broadcast", *map(str, shapes))


@settings(max_examples=150)
@given(st.lists(small, min_size=1, max_size=3), small, st.integers(1, 4), st.integers(0, 3), st.integers(1, 3))
def test_conv_and_transposed(sizes: list[int], kernel: int, stride: int, padding: int, dilation: int) -> None:
    options = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "dims": len(sizes)}
    proven("conv", text(*sizes), **options)
    proven("transposed-conv", text(*sizes), **options)


@settings(max_examples=100)
@given(st.lists(small, min_size=1, max_size=3), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2), st.booleans())
def test_pool(sizes: list[int], kernel: int, stride: int, padding: int, ceil_mode: bool) -> None:
    proven("pool", text(*sizes), kernel=kernel, stride=stride, padding=padding, ceil_mode=ceil_mode, dims=len(sizes))


@settings(max_examples=150)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_strides_and_view(sizes: list[int], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(sizes))))
    proven("strides", str(tuple(sizes)), permute=text(*order))
    assert proven("view", str(tuple(sizes)), "(-1,)", permute=text(*order)) is not None
    proven("view", str(tuple(sizes)), f"({sizes[0]},-1)", permute=text(*order))


@settings(max_examples=60)
@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 2, 4]), st.data())
def test_attention(queries: int, keys: int, kv_heads: int, data: st.DataObject) -> None:
    mask = data.draw(st.sampled_from(["none", "causal", "causal-lower-right", "window"]))
    proven("attention", queries=queries, keys=keys, heads=4, kv_heads=kv_heads, head_dim=8, mask=mask, window=2)


@settings(max_examples=100)
@given(
    st.sampled_from(["fp64", "fp32", "tf32", "bf16", "fp16", "fp8-e4m3fn", "fp8-e5m2"]),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
)
def test_dtype(name: str, value: float) -> None:
    assert proven("dtype", name, value=repr(value)) is not None


@settings(max_examples=60)
@given(st.integers(1, 4), st.integers(1, 4), st.data())
def test_gather_and_scatter(rows: int, columns: int, data: st.DataObject) -> None:
    index = [[data.draw(st.integers(0, 3)) for _ in range(columns)] for _ in range(rows)]
    assert proven("gather", str(index)) is not None
    assert proven("scatter", str(index), reduce=data.draw(st.sampled_from(["sum", "amax", "mean"]))) is not None
    assert proven("scatter", str(index), src=1) is not None


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 2)), min_size=1, max_size=4))
def test_receptive_field(layers: list[tuple[int, int, int]]) -> None:
    # Kernels of at least the stride: else outputs skip inputs and the last of them may be one that nothing reads.
    chain = ",".join(f"k{max(k, s)}s{s}d{d}" for k, s, d in layers)
    assert proven("receptive-field", chain) is not None


@settings(max_examples=60)
@given(st.floats(-5, 5), st.floats(0.1, 5), st.sampled_from([0, 1]))
def test_smooth_l1(difference: float, sigma: float, inside: int) -> None:
    assert proven("smooth-l1", repr(difference), sigma=repr(sigma), inside=inside) is not None


@settings(max_examples=40)
@given(st.floats(0, 1), st.lists(st.sampled_from([0, 1, 2, -100]), min_size=3, max_size=3))
def test_cross_entropy(smoothing: float, targets: list[int]) -> None:
    assert proven("cross-entropy", smoothing=repr(smoothing), targets=text(*targets)) is not None


@pytest.mark.parametrize("name", sorted(all_subjects()))
def test_every_subject_is_fuzzed(name: str) -> None:
    assert options_of(name), "a subject without options cannot be asked anything"
