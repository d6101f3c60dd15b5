"""What a rank tells arrives in order and whole, through shared memory and through the store alike."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from torch._C._distributed_c10d import HashStore

from trainworthy.check.live import boards
from trainworthy.check.live.boards import Board, BoardFullError, Log, LogReader

needs_memory = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="anonymous files are Linux's")


@needs_memory
def test_records_are_read_in_order_and_only_when_whole() -> None:
    log = Log()
    reader = LogReader(log.path)
    assert reader.read() is None
    log.append(b"first")
    log.append(b"second")
    assert [reader.read(), reader.read(), reader.read()] == [b"first", b"second", None]
    at = log._end
    log.append(b"third")
    whole = bytes(log._memory[at : log._end])
    log._memory[log._end - 1 : log._end] = b"?"  # its last byte has not arrived
    assert reader.read() is None
    log._memory[at : log._end] = whole
    assert reader.read() == b"third"
    log.close()
    log_again = Path(log.path)
    assert not log_again.exists()
    reader.close()


@needs_memory
def test_another_process_reads_it() -> None:
    log = Log()
    log.append(b"told")
    child = os.fork()
    if child == 0:
        os._exit(0 if LogReader(log.path).read() == b"told" else 1)
    assert os.waitpid(child, 0)[1] == 0
    log.close()


@needs_memory
def test_a_full_log_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "_BYTES", 4096)
    log = Log()
    for _ in range(4):
        log.append(b"x" * 1000)
    with pytest.raises(BoardFullError, match="of 4096 that there is room for"):
        log.append(b"x" * 1000)
    log.close()


@pytest.mark.parametrize("shared", [(True, True), (True, False), (False, False)])
def test_two_ranks_hear_each_other(shared: tuple[bool, bool]) -> None:
    store = HashStore()
    one = Board(store, "p", 0, shared=shared[0])
    one.tell("g/0", "said before the other came", reader=1)
    assert one.hear("g/0", writer=1) is None
    two = Board(store, "p", 1, shared=shared[1])
    assert two.hear("g/0", writer=0) == "said before the other came"
    two.tell("g/0", "an answer", reader=0)
    two.tell("g/1", "more", reader=0)
    assert one.hear("g/1", writer=1) == "more"
    assert one.hear("g/0", writer=1) == "an answer"
    in_store = [store.check([f"p/1/g/{n}"]) for n in (0, 1)]
    assert in_store == [shared != (True, True)] * 2  # memory spares the store
    one.close()
    two.close()


def test_ranks_of_different_machines_use_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    store = HashStore()
    one = Board(store, "p", 0)
    monkeypatch.setattr(boards, "_machine", lambda: "another")
    two = Board(store, "p", 1)
    two.tell("k", "from far", reader=0)
    assert one.hear("k", writer=1) == "from far"
    assert not one._readers
    one.close()
    two.close()


@pytest.mark.parametrize("knew_it", [False, True])
def test_who_comes_late_finds_the_last_words_of_one_that_left(knew_it: bool) -> None:
    store = HashStore()
    first, second = (Board(store, "t", rank) for rank in (0, 1))
    if knew_it:
        assert second.hear("w/0", writer=0) is None
        second._readers.clear()  # it knows where the log is and has not opened it
    for number in range(20):
        first.tell(f"w/{number}", f"{number}", reader=1)
    first.close()
    assert second.hear("w/19", writer=0) == "19"
    assert second.hear("w/12", writer=0) == "12"
    assert second.hear("w/20", writer=0) is None
    second.tell("w/0", "late", reader=0)
    second.close()
    first.close()  # again: nothing happens
