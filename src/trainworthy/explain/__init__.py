"""The teacher: rules and formulas shown step by step, with a picture and code that proves it. Never imports torch.

Add a subject:

1. Write the arithmetic in ``formulas/`` (pure, with source and doctest).
2. Copy ``explain/subjects/broadcast.py`` to ``explain/subjects/<name>.py``. The file is found by being there; a
   small family may share one. Decorate one function with ``@subject("<name>", ...)``: it takes the parsed options and
   returns an `Explanation`; ``arguments=`` adds its options to an argparse parser. Every option has a default, so
   that ``trainworthy explain <name>`` alone shows a worked example.
3. ``examples=`` are lines as they are typed after the name. The tests run each of them: no line of picture or code is
   wider than 78 columns, and the snippet runs and asserts what the answer says.
4. ``python docs/generate.py --quick`` writes the gallery.
"""

from trainworthy.explain.explanation import Explanation, Formula
from trainworthy.explain.registry import Subject, all_subjects, answer, find_subject, subject

__all__ = ["Explanation", "Formula", "Subject", "all_subjects", "answer", "find_subject", "subject"]
