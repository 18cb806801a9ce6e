"""How numbers are written, the same in every form."""

from __future__ import annotations

import math

MINUS = "\N{MINUS SIGN}"


def percent(share: float, digits: int | None = None) -> str:
    """A share as per cent: "59.0%"; more digits where it is small, none of them lost to 0."""
    if digits is None and 0 < abs(share) < 5e-6:
        return f"{significant(100 * share, 2)}%"
    if digits is None:
        digits = 1 if share == 0 or abs(share) >= 0.0005 else 3
    return f"{share:.{digits}%}".replace("-", MINUS)


def significant(value: float, digits: int = 3, *, signed: bool = False) -> str:
    """A number of so many significant digits, without an exponent where it can be."""
    if not math.isfinite(value):
        return str(value).replace("-", MINUS)
    size = abs(value)
    sign = "+" if signed else "-"
    if value == 0:
        text = "0"
    elif size < 10**-digits or size >= 1e7:
        number, _, power = f"{value:{sign}.{digits - 1}e}".partition("e")
        text = f"{number}e{int(power)}"
    else:
        places = max(0, digits - 1 - math.floor(math.log10(size)))
        text = f"{value:{sign},.{places}f}"
    return text.replace("-", MINUS)


def decimals(high: float, digits: int = 2) -> int:
    """Decimal places that show `digits` significant digits of values up to `high`."""
    if not math.isfinite(high) or high <= 0:
        return digits
    return min(12, max(0, digits - 1 - math.floor(math.log10(high))))


def fixed(value: float, places: int, *, signed: bool = False) -> str:
    """A number with so many decimal places; a rounded zero has no sign."""
    text = f"{value:{'+' if signed else '-'},.{places}f}"
    if not any(digit in text for digit in "123456789"):
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def count(number: float) -> str:
    """A whole number with its thousands apart."""
    return f"{number:,.0f}".replace("-", MINUS)


def offset_name(offset: int) -> str:
    """A distance in tokens with its sign: "+1"; 0 has none."""
    return f"{offset:+d}".replace("-", MINUS) if offset else "0"


def amount(size: float) -> str:
    """Bytes, in binary units."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} GiB"
