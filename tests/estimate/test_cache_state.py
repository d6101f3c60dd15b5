from __future__ import annotations

from trainworthy.estimate.cache_state import BEYOND_BYTES, LEVELS_BYTES, CacheState

MIB = 1 << 20


def test_what_was_never_touched_is_far() -> None:
    assert CacheState().touch(0, MIB) == {BEYOND_BYTES: MIB}


def test_distance_is_what_was_touched_between() -> None:
    cache = CacheState()
    cache.touch(0, MIB // 2)
    assert cache.touch(0, MIB // 2) == {MIB: MIB // 2}
    cache.touch(100 * MIB, 8 * MIB)
    assert cache.touch(0, MIB // 2) == {12 * MIB: MIB // 2}
    cache.touch(200 * MIB, 200 * MIB)
    assert cache.touch(0, MIB // 2) == {BEYOND_BYTES: MIB // 2}


def test_touching_the_same_again_and_again_brings_nothing_else_away() -> None:
    cache = CacheState()
    cache.touch(0, MIB // 2)
    for _ in range(1000):
        cache.touch(4 * MIB, MIB // 4)
    assert cache.touch(0, MIB // 2) == {LEVELS_BYTES[0]: MIB // 2}


def test_a_part_may_be_near_and_a_part_far() -> None:
    cache = CacheState()
    cache.touch(0, MIB)
    found = cache.touch(0, 2 * MIB)
    assert sum(found.values()) == 2 * MIB
    assert found[BEYOND_BYTES] == MIB
