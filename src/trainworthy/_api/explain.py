"""``trainworthy.explain``: a rule or formula, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainworthy.explain import Explanation


def explain(subject: str, /, *words: object, **options: object) -> Explanation:
    """Explain a rule or formula: the answer, a picture, the formula with its source, and code that proves it.

    ``print`` it, or show it in a notebook. Words and options are those of ``trainworthy explain``::

        explain("broadcast", (8, 1, 6, 1), (7, 1, 5))
        explain("conv", 224, kernel=7, stride=2, padding=3)

    Args:
        subject: A name that ``trainworthy explain --list`` lists.
        words: What is typed after the name; shapes may be tuples.
        options: ``kernel=7`` is ``--kernel 7``; True sets a flag; None is left out.

    Raises:
        UsageError: If there is no such subject or option, or a value is wrong.
        ShapeError: If the shapes do not go together.
    """
    from trainworthy.explain.registry import answer

    return answer(subject, *words, **options)
