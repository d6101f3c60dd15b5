from __future__ import annotations

import io

from trainworthy.train.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_when_it_is_time() -> None:
    stream = io.StringIO()
    shown = Progress(100, every_s=0.0, stream=stream)
    shown.numbers({"loss": 1.23456, "lr": 0.001})
    shown.step(7)
    shown.close(7)
    assert stream.getvalue() == "step 7/100  loss 1.235  lr 0.001\n"


def test_no_line_before_it_is_time() -> None:
    stream = io.StringIO()
    shown = Progress(100, every_s=3600, stream=stream)
    for step in range(50):
        shown.step(step)
    assert stream.getvalue() == ""


def test_nowhere() -> None:
    shown = Progress(10, every_s=0.0, stream=None)
    shown.step(1)
    shown.say("unheard")
    shown.close(1)


def test_a_reader_that_has_gone_ends_no_run() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    shown = Progress(10, every_s=0.0, stream=Closed())
    shown.step(1)
    shown.step(2)
    shown.say("unheard")


def test_a_bar_on_a_terminal() -> None:
    stream = Terminal()
    shown = Progress(10, every_s=3600, stream=stream)
    shown.numbers({"loss": 0.5})
    shown.say("step 4  evaluation  loss 0.5")
    shown.close(4)
    text = stream.getvalue()
    assert "evaluation  loss 0.5" in text
    assert "4/10" in text
