from __future__ import annotations

from typing import Any

import pytest

from trainworthy.errors import FormulaError, UsageError
from trainworthy.formulas import arguments as a


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (lambda x: a.require_whole(1, x=x), [1, 10**30], [0, -1, 1.0, "1", None, True, float("nan")]),
        (lambda x: a.require_positive(x=x), [1, 1e-9, 10**30], [0, -1, float("nan"), float("inf"), "1", None, True]),
        (lambda x: a.require_not_negative(x=x), [0, 0.0, 1e300], [-1e-300, float("nan"), float("-inf"), None, False]),
        (lambda x: a.require_fraction(x=x), [0, 0.5, 1], [-0.1, 1.1, float("nan"), "0.5", True]),
        (lambda x: a.require_one_of(("a", "b"), x=x), ["a", "b"], ["c", "", None, 1]),
        (lambda x: a.require_divisible("ranks", 4, x=x), [0, 4, 8], [1, 7]),
    ],
)
def test_each_check_names_argument_and_value(check: Any, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        check(value)
    for value in bad:
        with pytest.raises(FormulaError) as caught:
            check(value)
        assert (caught.value.argument, repr(caught.value.value)) == ("x", repr(value))
        assert caught.value.message.startswith(f"x is {value!r}; it must be ")
        assert isinstance(caught.value, UsageError)
