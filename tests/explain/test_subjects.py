"""Every subject, found by folder: examples run, pictures fit, snippets prove what is said, JSON and HTML hold."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import subprocess
import sys

import pytest

from explain.page import read
from trainworthy.cli.main import main
from trainworthy.explain import Explanation, all_subjects, answer
from trainworthy.explain.drawing import MAX_WIDTH, fits
from trainworthy.explain.html import render_html
from trainworthy.explain.registry import example_words
from trainworthy.explain.text import render_text

NAMES = list(all_subjects())
CASES = [(name, line) for name, found in all_subjects().items() for line in ("", *found.examples)]


def explained(name: str, line: str) -> Explanation:
    return answer(name, *example_words(line))


# What torch says beside: an even kernel cannot be padded evenly; CSR is in beta.
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel", "ignore:Sparse CS:UserWarning")
@pytest.mark.parametrize(("name", "line"), CASES)
def test_snippet_runs_and_asserts(name: str, line: str) -> None:
    snippet = explained(name, line).snippet
    assert snippet
    tree = ast.parse(snippet)
    assert any(isinstance(node, ast.Assert | ast.Raise) for node in ast.walk(tree)), "it proves nothing"
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(tree, f"<explain {name} {line}>", "exec"), {"__name__": "snippet"})


@pytest.mark.parametrize(("name", "line"), CASES)
def test_pictures_and_code_fit_a_terminal(name: str, line: str) -> None:
    it = explained(name, line)
    assert it.diagram
    assert fits(it.diagram.split("\n")), max(it.diagram.split("\n"), key=len)
    assert fits(it.snippet.split("\n")), max(it.snippet.split("\n"), key=len)
    for formula in it.formulas:
        assert fits(formula.text.split("\n")), max(formula.text.split("\n"), key=len)
    text = render_text(it, width=80, color=False)
    too_wide = [row for row in text.split("\n") if len(row) > 80 and " " in row.strip() and "http" not in row]
    assert too_wide == []


@pytest.mark.parametrize(("name", "line"), CASES)
def test_an_answer_is_whole(name: str, line: str) -> None:
    it = explained(name, line)
    assert it.subject == name
    assert it.title
    assert "\n" not in it.result
    assert it.steps
    assert it.formulas
    assert all(formula.source for formula in it.formulas)
    assert it.values
    assert set(it.see_also) <= set(NAMES) - {name}
    assert "\t" not in str(it)
    assert MAX_WIDTH == 78


@pytest.mark.parametrize(("name", "line"), CASES)
def test_json_and_html(name: str, line: str) -> None:
    it = explained(name, line)
    data = json.loads(json.dumps(it.to_dict(), allow_nan=False))
    assert data["schema_version"] == 1
    assert data["subject"] == name
    reader = read(render_html([it]))
    assert it.result.replace(" ", "") in "".join(reader.words).replace(" ", "")
    read(it._repr_html_())


@pytest.mark.parametrize("name", NAMES)
def test_help_and_examples_on_the_command_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["explain", name, "--help"])
    assert done.value.code == 0
    assert f"trainworthy explain {name}" in capsys.readouterr().out
    for line in all_subjects()[name].examples:
        code = main(["explain", name, *example_words(line)])
        out, err = capsys.readouterr()
        assert code == int(explained(name, line).problem)
        assert err == ""
        assert explained(name, line).result in out


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "word", ["-1", "1e30", "letters", "", "(1,", "nan", "--no-such=1", "9" * 30, "1.5", "\x1b[31m"]
)
def test_bad_words_are_no_traceback(name: str, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(["explain", name, word])
    except SystemExit as left:
        code = int(left.code or 0)
    out, err = capsys.readouterr()
    assert code in (0, 1, 2)
    assert bool(err) == (code == 2 or not out)
    assert "\x1b" not in out + err


def test_no_subject_imports_torch_or_numpy() -> None:
    program = (
        "import sys; from trainworthy.explain import all_subjects, answer; [answer(name) for name in all_subjects()]; "
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=120)
    assert not {name.split(".")[0] for name in done.stdout.split()} & {"torch", "numpy", "rich"}


@pytest.mark.parametrize(("words", "limit_s"), [(["explain", "broadcast"], 0.2), (["explain", "--list"], 0.4)])
def test_answers_at_once(words: list[str], limit_s: float) -> None:
    # Time of this process, not of the clock: other programs may be busy.
    program = (
        "import sys, time; start = time.process_time(); from trainworthy.cli.main import main; "
        f"main({words!r}); print(time.process_time() - start, file=sys.stderr)"
    )
    times = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60,
            env={**os.environ, "COLUMNS": "80"},
        )  # fmt: skip
        times.append(float(done.stderr))
    assert min(times) < limit_s
