"""Attention: shapes of MHA, GQA and MQA, and what masks mean."""

from __future__ import annotations

import argparse
from math import prod

from trainworthy.errors import ShapeError
from trainworthy.explain.arguments import at_least, shape
from trainworthy.explain.drawing import Grid, Mark, columns, grids_svg
from trainworthy.explain.explanation import Explanation, Formula
from trainworthy.explain.registry import subject
from trainworthy.formulas.attention import (
    POLARITY,
    AttentionShapes,
    Mask,
    attention_shapes,
    blind_queries,
    causal_mask,
    check_mask,
    window_mask,
)
from trainworthy.formulas.checks import Shape, shape_text
from trainworthy.units import format_bytes

_FORMULA = Formula(
    text="scores = q @ k.transpose(-2, -1) / sqrt(D)      (B, Hq, Lq, Lk)\n"
    "out = softmax(scores + mask) @ v                (B, Hq, Lq, Dv)\n"
    "MHA: Hkv = Hq    GQA: Hkv divides Hq    MQA: Hkv = 1",
    source="Vaswani et al. 2017 (arXiv 1706.03762), equation 1; Shazeer 2019 (arXiv 1911.02150); "
    "Ainslie et al. 2023 (arXiv 2305.13245)",
)
_SHORT = {"scaled_dot_product_attention": "sdpa", "nn.TransformerEncoder": "TransformerEncoder"}  # 78 columns
_MOST_CELLS = 12  # queries and keys in the picture of a mask
_MOST_DATA = 10**7  # elements of the scores up to which a snippet computes


def _arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--batch", type=at_least(1), default=2, metavar="B", help="(default: 2)")
    add("--heads", type=at_least(1), default=None, metavar="H", help="query heads (default: 8)")
    add("--kv-heads", type=at_least(1), metavar="H", help="key/value heads (default: as many as heads)")
    add("--queries", type=at_least(1), default=None, metavar="L", help="(default: 6)")
    add("--keys", type=at_least(1), metavar="L", help="(default: as many as queries)")
    add("--head-dim", type=at_least(1), default=64, metavar="D", help="(default: 64)")
    add("--value-dim", type=at_least(1), metavar="D", help="(default: head-dim)")
    add(
        "--mask", choices=("none", "causal", "causal-lower-right", "window"), default="causal", help="(default: causal)"
    )
    add("--window", type=at_least(1), default=3, metavar="N", help="keys a query sees, its own too (default: 3)")
    add("--mask-shape", type=shape, metavar="SHAPE", help="check that a mask of this shape broadcasts to the scores")


@subject(
    "attention",
    summary="shapes of MHA, GQA, MQA; masks and their polarity",
    group="layers",
    arguments=_arguments,
    examples=(
        "--heads 32 --kv-heads 8 --queries 4096 --head-dim 128", "--queries 2 --keys 6 --mask causal",
        "--queries 2 --keys 6 --mask causal-lower-right", "--mask window --window 3", '--mask-shape "(2,6)" --heads 3',
        '--mask-shape "(2,1,1,6)"', "--heads 8 --kv-heads 1 --mask none",
    ),
    aliases=("mha", "gqa", "mqa", "mask", "causal", "sdpa", "scaled-dot-product-attention", "sliding-window"),
)  # fmt: skip
def attention(options: argparse.Namespace) -> Explanation:
    """Explain the shapes of attention and its mask."""
    queries = options.queries or 6
    keys = options.keys or queries
    shapes = attention_shapes(
        batch=options.batch, queries=queries, keys=keys, heads=options.heads or 8, kv_heads=options.kv_heads,
        head_dim=options.head_dim, value_dim=options.value_dim,
    )  # fmt: skip
    title = f"{shapes.kind}, q {shape_text(shapes.query)}, k {shape_text(shapes.key)}, mask {options.mask}"
    wrong = _mask_problem(options.mask_shape, shapes.scores)
    mask = _mask(options, min(queries, _MOST_CELLS), min(keys, _MOST_CELLS), queries, keys)
    lines, picture = _lines(shapes, mask, queries, keys), _grids(shapes, mask)
    steps = _steps(shapes, options, queries, keys)
    if options.mask_shape is not None:
        steps.append(_mask_sentence(options.mask_shape, shapes.scores, wrong))
    return Explanation(
        title=title, result=wrong or f"scores {shape_text(shapes.scores)}, out {shape_text(shapes.output)}",
        problem=wrong is not None, steps=tuple(steps), diagram="\n".join(lines), svg=grids_svg(title, picture, size=22),
        formulas=(_FORMULA,), notes=_notes(options, shapes, mask, queries, keys),
        snippet=_snippet(options, shapes, wrong), see_also=("broadcast", "repeat-interleave", "view"),
        values={
            "kind": shapes.kind, "query": shapes.query, "key": shapes.key, "value": shapes.value,
            "scores": shapes.scores, "output": shapes.output, "heads_per_kv_head": shapes.heads_per_kv_head,
            "scores_elements": prod(shapes.scores), "cache_elements_per_token": shapes.cache_elements_per_token,
            "mask_broadcasts": None if options.mask_shape is None else wrong is None,
        },
    )  # fmt: skip


def _mask_problem(mask: Shape | None, scores: Shape) -> str | None:
    if mask is None:
        return None
    try:
        check_mask(mask=mask, scores=scores)
    except ShapeError as error:
        return error.message
    return None


def _mask(options: argparse.Namespace, rows: int, cols: int, queries: int, keys: int) -> Mask | None:
    """Return the corner of the mask that is drawn; the lower right one for masks that hang there."""
    if options.mask == "none":
        return None
    if options.mask == "causal-lower-right":
        # The last rows and columns of the whole: there the triangle hangs as it does in a mask of that size.
        return causal_mask(queries=rows, keys=cols, corner="lower-right")
    if options.mask == "window":
        return window_mask(queries=rows, keys=cols, before=options.window - 1, after=0)
    return causal_mask(queries=rows, keys=cols)


def _steps(shapes: AttentionShapes, options: argparse.Namespace, queries: int, keys: int) -> list[str]:
    b, h, _, d = shapes.query
    out = [
        f"q is {shape_text(shapes.query)}: (batch, heads, queries, head size). From (B, L, H*D) by "
        "view(B, L, H, D).transpose(1, 2), not by view alone.",
    ]
    if shapes.heads_per_kv_head > 1:
        out.append(
            f"{shapes.kind}: {shapes.heads_per_kv_head} query heads share a key/value head, k and v are repeated as "
            f"repeat_interleave({shapes.heads_per_kv_head}, dim=1) does: head i uses key/value head i // "
            f"{shapes.heads_per_kv_head}."
        )
    size = prod(shapes.scores) * 2
    out += [
        f"scores = q @ k^T: {queries} queries times {keys} keys in each of {b}*{h} heads, {shape_text(shapes.scores)}; "
        f"{format_bytes(size)} in 2-byte numbers, which a fused kernel never holds in memory.",
        f"softmax runs over the keys, the last dimension; times v gives {shape_text(shapes.output)}.",
        f"A cache keeps {shapes.cache_elements_per_token:,} numbers a token and layer: "
        f"Hkv*(D + Dv) = {shapes.key[1]}*({d} + {shapes.value[3]}).",
    ]
    if options.mask == "window":
        out.append(f"The window lets query i see keys i - {options.window - 1} to i.")
    elif options.mask != "none":
        corner = "lower right" if options.mask.endswith("right") else "upper left"
        out.append(f"The causal triangle hangs in the {corner} corner: " + (
            "the last query sees all keys." if corner == "lower right" else "query i sees keys 0 to i."
        ))  # fmt: skip
    return out


def _mask_sentence(mask: Shape, scores: Shape, wrong: str | None) -> str:
    if wrong is not None:
        return f"{wrong} A padding mask (B, Lk) becomes mask[:, None, None, :], (B, 1, 1, Lk)."
    return f"A mask of {shape_text(mask)} broadcasts to {shape_text(scores)}."


def _lines(shapes: AttentionShapes, mask: Mask | None, queries: int, keys: int) -> list[str]:
    rows = [
        ["", "batch", "heads", "length", "size"],
        ["q", *map(str, shapes.query)], ["k", *map(str, shapes.key)], ["v", *map(str, shapes.value)],
        ["scores", *map(str, shapes.scores)], ["out", *map(str, shapes.output)],
    ]  # fmt: skip
    lines = columns(rows, gap=3, align="l")
    if mask is not None:
        cut = " (a corner of it)" if len(mask) < queries or len(mask[0]) < keys else ""
        lines += ["", f"mask, queries down, keys across{cut}"]
        lines += ["  " + " ".join("x" if seen else "." for seen in row) for row in mask]
        lines += ["", "x: may look (True in scaled_dot_product_attention, sdpa)   .: masked"]
    lines += ["", "What a mask means", *_polarity_lines()]
    return lines


def _polarity_lines() -> list[str]:
    rows = []
    for where, value, means in POLARITY:
        short = where
        for long, instead in _SHORT.items():
            short = short.replace(long, instead)
        rows.append([short, value, means])
    return columns(rows, gap=2, align="lll")


def _grids(shapes: AttentionShapes, mask: Mask | None) -> list[Grid]:
    table = [shapes.query, shapes.key, shapes.value, shapes.scores, shapes.output]
    cells = [list(map(str, row)) for row in table]
    grids = [Grid(cells=cells, names=["q", "k", "v", "scores", "out"], heads=["batch", "heads", "length", "size"])]
    if mask is not None:
        marks: dict[tuple[int, int], Mark] = {
            (r, c): "strong" if seen else "faint" for r, row in enumerate(mask) for c, seen in enumerate(row)
        }
        blank = [["x" if seen else "" for seen in row] for row in mask]
        grids.append(Grid(cells=blank, title="mask: queries down, keys across", marks=marks))
    return grids


def _notes(
    options: argparse.Namespace, shapes: AttentionShapes, mask: Mask | None, queries: int, keys: int
) -> tuple[str, ...]:
    notes = [
        "True means the opposite in nn.MultiheadAttention: there it masks out.",
        "A padding mask (B, Lk) must become (B, 1, 1, Lk). Left as it is, it fails, or, when B equals Lq, masks the "
        "queries of one sample by the padding of another.",
    ]
    if options.mask == "causal" and queries != keys:
        notes.insert(0, f"is_causal=True with {queries} queries and {keys} keys hangs the triangle in the upper "
        "left: when "
                        "decoding with a cache the new queries do not see the newest keys. Use --mask "
                        "causal-lower-right (torch.nn.attention.bias.causal_lower_right).")  # fmt: skip
    if mask is not None and blind_queries(mask=mask):
        notes.insert(0, "Some queries see no key: softmax over nothing is NaN in plain code; "
                        "scaled_dot_product_attention gives 0 there.")  # fmt: skip
    if shapes.heads_per_kv_head > 1:
        notes.append("Pass enable_gqa=True to scaled_dot_product_attention, or repeat k and v yourself.")
    return tuple(notes)


def _snippet(options: argparse.Namespace, shapes: AttentionShapes, wrong: str | None) -> str:
    device = ', device="meta"' if prod(shapes.scores) > _MOST_DATA else ""
    gqa = ", enable_gqa=True" if shapes.heads_per_kv_head > 1 else ""
    lines = [
        "import torch", "import torch.nn.functional as F", "",
        f"q = torch.randn({shape_text(shapes.query)}{device})", f"k = torch.randn({shape_text(shapes.key)}{device})",
        f"v = torch.randn({shape_text(shapes.value)}{device})",
    ]  # fmt: skip
    lq, lk = shapes.scores[-2:]
    if options.mask_shape is not None:
        lines.append(f"mask = torch.ones({shape_text(options.mask_shape)}, dtype=torch.bool{device})")
        if wrong:
            return "\n".join([
                *lines, "try:", f"    F.scaled_dot_product_attention(q, k, v, attn_mask=mask{gqa})",
                "except RuntimeError as error:", "    print(error)", "else:",
                '    raise AssertionError("the mask broadcasts after all")',
            ])  # fmt: skip
        argument = ", attn_mask=mask"
    elif options.mask == "none":
        argument = ""
    elif options.mask == "causal":
        argument = ", is_causal=True"
    else:
        lines.append(f"ones = torch.ones({lq}, {lk}, dtype=torch.bool{device})")
        by = lk - lq if options.mask == "causal-lower-right" else 0
        window = f" & ones.triu({1 - options.window})" if options.mask == "window" else ""
        lines.append(f"mask = ones.tril({by}){window}")
        argument = ", attn_mask=mask"
    lines += [
        f"out = F.scaled_dot_product_attention(q, k, v{argument}{gqa})",
        f"assert out.shape == {shape_text(shapes.output)}",
    ]  # fmt: skip
    if not device and options.mask == "causal" and options.mask_shape is None and not gqa:
        lines += [
            f"mask = torch.ones({lq}, {lk}, dtype=torch.bool).tril()  # True: may look",
            "same = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)",
            "assert torch.allclose(out, same, atol=1e-5)",
        ]  # fmt: skip
    return "\n".join(lines)
