"""Numbers for people, and sizes from people.

Memory is binary (1 GiB = 2**30 bytes), counts and FLOPs are decimal (1 T = 10**12). Every formatter takes ``None`` for
"unknown" and prints a dash, never a zero.
"""

from __future__ import annotations

import math
import re

UNKNOWN = "–"  # noqa: RUF001  an en dash: what every table prints for None
KIB, MIB, GIB, TIB = 2**10, 2**20, 2**30, 2**40

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_DECIMAL = ("", "k", "M", "G", "T", "P", "E", "Z")
_COUNT = ("", "k", "M", "B", "T")
_SIZE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([kmgtpe]?)(i?)b?\s*", re.IGNORECASE)


def format_bytes(num_bytes: float | None) -> str:
    """Format a size in binary units: three digits that count, whole bytes below 1 KiB.

    >>> format_bytes(85_028_896_768)
    '79.2 GiB'
    >>> format_bytes(512), format_bytes(1536), format_bytes(0), format_bytes(None)
    ('512 B', '1.5 KiB', '0 B', '–')
    >>> format_bytes(-3 * 2**20)
    '-3 MiB'
    """
    return _format(num_bytes, base=1024, prefixes=_BINARY)


def format_count(count: float | None) -> str:
    """Format a number of things, such as parameters, with k, M, B (10**9) and T.

    >>> format_count(124_439_808), format_count(1_557_611_200), format_count(950), format_count(None)
    ('124.4M', '1.6B', '950', '–')
    """
    if count is None:
        return UNKNOWN
    value, prefix = _scale(count, base=1000, prefixes=_COUNT, digits=1)
    return f"{value:,.1f}{prefix}" if prefix else f"{value:,.10g}"


def format_flops(flops: float | None) -> str:
    """Format FLOPs; one multiply-add is 2 FLOPs.

    >>> format_flops(7.01e12), format_flops(48), format_flops(None)
    ('7.01 TFLOP', '48 FLOP', '–')
    """
    return format_si(flops, "FLOP")


def format_si(value: float | None, unit: str) -> str:
    """Format ``value`` with a decimal prefix before ``unit``: three digits that count.

    >>> format_si(3.352e12, "B/s"), format_si(0.25, "s"), format_si(1e6, "op"), format_si(None, "s")
    ('3.35 TB/s', '0.25 s', '1 Mop', '–')
    """
    return _format(value, base=1000, prefixes=tuple(prefix + unit for prefix in _DECIMAL))


def format_seconds(seconds: float | None) -> str:
    """Format a duration: ms below a second, then seconds, minutes and hours.

    >>> format_seconds(0.0123), format_seconds(4.5), format_seconds(90), format_seconds(7260), format_seconds(None)
    ('12.3 ms', '4.5 s', '1 min 30 s', '2 h 1 min', '–')
    """
    if seconds is None:
        return UNKNOWN
    if seconds < 0.9995:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 59.95:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def parse_size(text: str) -> int:
    """Read a size in bytes: ``GiB`` (and ``Gi``) is 2**30, ``GB`` (and ``G``) is 10**9, no unit is bytes.

    >>> parse_size("1.5 GiB"), parse_size("80GB"), parse_size("512")
    (1610612736, 80000000000, 512)
    >>> parse_size("ten")
    Traceback (most recent call last):
    ...
    ValueError: not a size: 'ten'; write a number and a unit, such as 1.5GiB, 512MiB or 80GB

    Raises:
        ValueError: If ``text`` is not a number with a known unit.
    """
    match = _SIZE.fullmatch(text)
    if match is None or (match[3] and not match[2]):
        raise ValueError(f"not a size: {text!r}; write a number and a unit, such as 1.5GiB, 512MiB or 80GB")
    base: int = 1024 if match[3] else 1000
    power = "_kmgtpe".index(match[2].lower()) if match[2] else 0
    whole, _, fraction = match[1].partition(".")
    # Integers throughout: a float would lose bytes above 2**53.
    digits = int((whole or "0") + fraction)
    return digits * int(base**power) // int(10 ** len(fraction))


def _format(value: float | None, *, base: int, prefixes: tuple[str, ...]) -> str:
    if value is None:
        return UNKNOWN
    scaled, prefix = _scale(value, base=base, prefixes=prefixes, digits=None)
    if abs(scaled) >= 999.5:
        return f"{scaled:,.0f} {prefix}"
    return f"{scaled:.3g} {prefix}"


def _scale(value: float, *, base: int, prefixes: tuple[str, ...], digits: int | None) -> tuple[float, str]:
    """Return ``value`` in the largest unit in which it does not round up to the next one."""
    if not math.isfinite(value):
        return value, prefixes[0]
    for index, prefix in enumerate(prefixes[:-1]):
        scaled = value / base**index
        limit = base - (0.5 if digits is None or index == 0 else 0.5 * 10**-digits)
        if abs(scaled) < limit:
            return scaled, prefix
    return value / base ** (len(prefixes) - 1), prefixes[-1]
