"""Numbers as a reader wants them: as many digits as the error allows."""

from __future__ import annotations

import math

NOTHING = "–"
MINUS = "\N{MINUS SIGN}"


def _signed(text: str) -> str:
    return text.replace("-", MINUS)


def _decimals(error: float) -> int:
    """Return the decimals that show an error: two digits if the first is 1 to 3, else one."""
    size = math.floor(math.log10(error))
    return max(0, (1 if error < 3.95 * 10.0**size else 0) - size)


def number(value: float | None, digits: int = 4) -> str:
    """Write a number with so many significant digits.

    Parameters
    ----------
    value : float or None
        None gives a dash.
    digits : int
        Significant digits.

    Returns
    -------
    str
        Without an exponent between 1e-4 and 1e6.
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    if value == 0.0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if -5 < size < 6:
        return _signed(f"{value:.{max(0, digits - 1 - size)}f}")
    return _signed(f"{value:.{digits - 1}e}")


def with_error(value: float | None, error: float | None) -> str:
    """Write a value and its standard error, both as far as the error reaches.

    Parameters
    ----------
    value : float or None
        None gives a dash.
    error : float or None
        None or 0: the value alone, with four significant digits.

    Returns
    -------
    str
        Such as ``0.9972 ± 0.0013``.
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    if not error or not math.isfinite(error):
        return number(value)
    if abs(value) < 1e-4 and error < 1e-4:
        return _signed(f"{value:.1e} ± {error:.0e}")
    decimals = _decimals(error)
    return _signed(f"{value:.{decimals}f} ± {error:.{decimals}f}")


def as_published(value: float | None, uncertainty: float | None) -> str:
    """Write a published value with the digits it was published with.

    Parameters
    ----------
    value, uncertainty : float or None
        As in the table of published values.

    Returns
    -------
    str
        No digit more than the table has.
    """
    if value is None:
        return NOTHING
    if uncertainty is None:
        return _signed(f"{value:g}" if abs(value) < 1e5 else f"{value:.6g}")
    decimals = max(len(f"{x:g}".partition(".")[2]) for x in (value, uncertainty))
    return _signed(f"{value:.{decimals}f} ± {uncertainty:.{decimals}f}")


def deviation(percent: float | None, sigma: float | None) -> str:
    """Write a deviation in joint standard errors, or in percent where these are not known.

    Parameters
    ----------
    percent, sigma : float or None
        Deviation of a value from a published one.

    Returns
    -------
    str
        Such as ``+0.8 σ``.
    """
    if sigma is not None:
        return _signed(f"{sigma:+.1f} σ")
    if percent is not None:
        return _signed(f"{percent:+.1f} %")
    return NOTHING


def duration(seconds: float | None) -> str:
    """Write a time span for people.

    Parameters
    ----------
    seconds : float or None
        None gives a dash.

    Returns
    -------
    str
        Such as ``2 min 05 s``.
    """
    if seconds is None:
        return NOTHING
    if seconds < 60.0:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def unit_text(unit: str) -> str:
    """Write a unit with a power of ten as it is printed.

    Parameters
    ----------
    unit : str
        Such as ``1e-9 m²/s``.

    Returns
    -------
    str
        Such as ``10⁻⁹ m²/s``.
    """
    return unit.replace("1e-9 ", "10⁻⁹ ")
