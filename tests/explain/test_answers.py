"""Answers worked out by hand, and what is said to questions that have none."""

from __future__ import annotations

import pytest

from trainworthy.errors import ShapeError, UsageError
from trainworthy.explain import answer
from trainworthy.explain.registry import example_words

ANSWERS = [
    ('broadcast "(8,1,6,1)" "(7,1,5)"', "result", (8, 7, 6, 5)),
    ('broadcast "(64,1)" "(64,)"', "row_and_column", True),
    ('broadcast "(4,3,2)" "(2,2)"', "failing_dim", -2),
    ("conv 224 --kernel 7 --stride 2 --padding 3", "output_shape", (1, 64, 112, 112)),
    ("conv 224 --kernel 7 --stride 2 --padding 3 --no-bias", "parameters", 9408),
    ("conv 112 --kernel 3 --padding 1 --groups 32", "parameters", 320),
    ("conv 32 --kernel 3 --padding same --dilation 2", "output_shape", (1, 64, 32, 32)),
    ("transposed-conv 7 --kernel 4 --stride 2 --padding 1", "output_shape", (1, 32, 14, 14)),
    ("transposed-conv 3 --kernel 3 --stride 2", "padded_size", [9, 9]),
    ("transposed-conv 5 --kernel 3 --stride 2 --padding 3 --dims 1", "pad", [(-1, -1)]),
    ("pool 112 --kernel 3 --stride 2 --padding 1", "output_shape", (1, 64, 56, 56)),
    ("pool 7 --kernel 2 --dims 1 --ceil-mode", "output_shape", (1, 64, 4)),
    ('receptive-field "k3s1,k3s2,k3s1"', "size", 9),
    ('receptive-field "k3x2"', "size", 5),
    ('receptive-field "k3x70"', "size", 141),
    ('receptive-field "stem:k7s2p3,k3x30"', "jump", 2),
    ("strides 2,3 --permute 1,0", "strides", (1, 3)),
    ('strides "(2,3,4)" --index 1,2,3', "offset", 23),
    ('strides "()"', "strides", ()),
    ('strides "(1,64,5,4)" --channels-last', "is_channels_last", True),
    ('strides "(2,1,3)"', "strides", (3, 3, 1)),
    ('view "(2,3,4)" "(2,12)" --permute 0,2,1', "is_view", False),
    ('view "(2,1,4)" "(8,)"', "new_strides", (1,)),
    ("view 100,100 -1 --permute 1,0", "is_view", False),
    ('scatter "[0,1,0,2]" --reduce sum', "result", [4, 2, 4]),
    ('scatter "[0,0]" --src 7', "written_twice", ((0,),)),
    ('gather "[[0,0],[1,0]]" --input "[[1,2],[3,4]]"', "result", [[1, 1], [4, 3]]),
    ('gather "[[1]]" --input "[[1,2],[3,4]]"', "result", [[2]]),
    ("repeat-interleave 2", "result", [1, 1, 2, 2, 3, 3]),
    ("attention --heads 32 --kv-heads 8", "kind", "GQA"),
    ('attention --mask-shape "(2,6)" --heads 3', "mask_broadcasts", False),
    ('sparse --shape "(10000,10000)" --nnz 100000', "coo_bytes", 2_000_000),
    ('sparse --shape "(10,10,10)"', "coo_bytes", 280),
    ("dtype bf16", "epsilon", 2**-7),
    ("dtype fp16 --value 70000", "kind", "overflow"),
    ("dtype fp16 --value 70000", "rounded", None),
    ("dtype fp8 --value 1000", "rounded", 448.0),
    ('cross-entropy "(8,1000)"', "target_shape", (8,)),
    ("cross-entropy --targets -100,-100,-100", "example_mean", None),
    ("smooth-l1 2 --beta 1", "loss", 1.5),
    ("init 64,3,7,7", "fan_in", 147),
    ("init 2,3 --distribution normal", "fan_out", 2),
    ("init 5000,5000 --scheme xavier", "fan_in", 5000),
]  # fmt: skip


@pytest.mark.parametrize(("line", "name", "expected"), ANSWERS)
def test_answers(line: str, name: str, expected: object) -> None:
    subject, *words = example_words(line)
    it = answer(subject, *words)
    assert it.values[name] == expected
    assert it.svg.startswith("<svg")
    exec(compile(it.snippet, "<snippet>", "exec"), {"__name__": "snippet"})


IMPOSSIBLE = [
    ("conv 2 --kernel 5", "reaching over 5 does not fit into 2 positions"),
    ("conv 8 --stride 2 --padding same", "needs stride 1"),
    ("conv 8 --in-channels 3 --groups 2", "in_channels 3 does not divide by groups 2"),
    ("pool 8 --kernel 3 --padding 2", "at most half of the kernel"),
    ("transposed-conv 4 --output-padding 2", "output_padding 2 must be smaller"),
    ("receptive-field k9s999999999x9", "more than a 64-bit size can hold"),
    ('receptive-field "k3s2,k9" --size 8', "reaching over 9"),
    ('view "(2,3)" "(4,)"', "6 elements, (4,) has 4"),
    ("strides 2,3 --index 2,0", "Index 2 is out of range for dimension 0 of size 2"),
    ('gather "[[5]]" --input "[[1,2]]"', "index 5 is out of range"),
    ('scatter "[[0],[1]]" --src "[[1]]"', "asks for more than src"),
    ("attention --heads 32 --kv-heads 5", "do not divide among 5"),
    ("init 5", "has no fan-in"),
    ("sparse --shape 2,2 --nnz 5", "cannot be stored"),
    ("cross-entropy --targets 0,1,7", "Target 7 is not a class"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "said"), IMPOSSIBLE)
def test_impossible_shapes_say_why(line: str, said: str) -> None:
    subject, *words = example_words(line)
    with pytest.raises(ShapeError) as wrong:
        answer(subject, *words)
    assert said in wrong.value.message


WRONG = [
    ("conv 1,2,3,4", "4 sizes"), ("conv 8,8 --dims 3", "2 sizes"), ("conv 0", "A size of 0"),
    ("conv 8 --kernel 3,3,3", "kernel has 3 entries"), ("view 2,3 6 --strides 1", "1 strides for 2 dimensions"),
    ("view 2,3 6 --strides -1,1", "no negative strides"), ('scatter "5"', "must be a list"),
    ('scatter "[[0]]" --dim 2', "--dim 2 does not exist"), ('scatter "[[0]]" --shape 100,100', "at most 400"),
    ('gather "[[99999]]"', "too many to show"), ('gather "[[0]]" --input "[]"', "1 to 400 can be shown"),
    ("repeat-interleave 2 --size 41", "40 at most"), ("repeat-interleave 400", "More than 400"),
    ("repeat-interleave -1", "at least 0"),
    ('sparse "[[1]]" --shape 2,2', "not both"), ('sparse "[1]"', "is no matrix"),
    ("dtype bf17", "No number format"), ("cross-entropy --targets 0,1", "three rows"),
    ("cross-entropy --smoothing 2", "between 0 and 1"), ("smooth-l1 --sigma 1 --beta 1", "not both"),
    ("smooth-l1 --beta -1", "more than 0"), ("smooth-l1 --sigma 1e9", "between 1e-6 and 1e6"),
    ("smooth-l1 1e300", "between -1e12"), ("init 5,5 --slope 1", "belongs to"),
    ("init 5,5 --activation leaky_relu --slope 1e300", "out of range"), ("receptive-field ...", "cannot be read"),
    ("strides 2,3 --permute 0,0", "each of the 2 dimensions once"),
    ("strides 2,3 --channels-last", "channels_last needs"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "said"), WRONG)
def test_wrong_questions_say_what_is_wrong(line: str, said: str) -> None:
    subject, *words = example_words(line)
    # As on the command line: options are among the words.
    with pytest.raises(UsageError) as wrong:
        answer(subject, *words)
    assert said in str(wrong.value)
