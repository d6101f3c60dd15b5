from __future__ import annotations

import threading
import time
from pathlib import Path

from trainworthy.virtual.mailbox import ENDED, MAIL, MAX_BYTES, Mailbox, scratch_of


def boxes(folder: Path, count: int = 2) -> list[Mailbox]:
    return [Mailbox(str(folder), rank) for rank in range(count)]


def test_messages_arrive_in_order_and_once(tmp_path: Path) -> None:
    zero, one = boxes(tmp_path)
    zero.put("a", 1, b"first")
    zero.put("a", 1, b"second")
    zero.put("b", 1, b"other")
    assert [one.take("a", 0), one.take("b", 0), one.take("a", 0)] == [b"first", b"other", b"second"]


def test_a_broadcast_reaches_everyone(tmp_path: Path) -> None:
    zero, one, two = boxes(tmp_path, 3)
    zero.put("a", None, b"all")
    assert one.take("a", 0, broadcast=True) == two.take("a", 0, broadcast=True) == b"all"


def test_who_waits_says_for_whom(tmp_path: Path) -> None:
    said: list[int | None] = []
    zero = Mailbox(str(tmp_path), 0)
    one = Mailbox(str(tmp_path), 1, said.append)

    def answer() -> None:
        while said != [0]:
            time.sleep(0.005)
        zero.put("a", 1, b"late")

    thread = threading.Thread(target=answer)
    thread.start()
    assert one.take("a", 0) == b"late"
    thread.join()
    assert said == [0, None]


def test_nothing_comes_from_a_rank_that_ended(tmp_path: Path) -> None:
    zero, one = boxes(tmp_path)
    zero.put("a", 1, b"sent before")
    (scratch_of(tmp_path, 0) / MAIL / ENDED).touch()
    assert one.take("a", 0) == b"sent before"
    assert one.take("a", 0) is None


def test_what_the_sender_does_not_know_is_unknown(tmp_path: Path) -> None:
    zero, one = boxes(tmp_path)
    zero.put("a", 1, b"")
    zero.put("a", 1, bytes(MAX_BYTES + 1))
    assert one.take("a", 0) is None
    assert one.take("a", 0) is None
