"""Number formats as values.

A *word* is the raw unsigned integer of one stored number; its *value* is the float that it encodes; its
*ordinal* is the signed rank of that value among the format's values. Words and ordinals are exact integers,
so everything that must not round is done on them.
"""

from forensics.errors import FormatError
from forensics.formats.block_format import BlockFormat
from forensics.formats.conversion import Words
from forensics.formats.float_format import CLASSES, INFINITE, NAN, NORMAL, SUBNORMAL, ZERO, FloatFormat

__all__ = [
    "BFLOAT16",
    "CLASSES",
    "FLOAT8_E4M3FN",
    "FLOAT8_E5M2",
    "FLOAT16",
    "FLOAT32",
    "FORMATS",
    "INFINITE",
    "NAN",
    "NORMAL",
    "SUBNORMAL",
    "ZERO",
    "BlockFormat",
    "FloatFormat",
    "TensorFormat",
    "Words",
    "float_format",
]

TensorFormat = FloatFormat | BlockFormat

BFLOAT16 = FloatFormat("bfloat16", 8, 7, 127, True, "BF16")
FLOAT16 = FloatFormat("float16", 5, 10, 15, True, "F16")
FLOAT32 = FloatFormat("float32", 8, 23, 127, True, "F32")
FLOAT8_E4M3FN = FloatFormat("float8_e4m3fn", 4, 3, 7, False, "F8_E4M3")
FLOAT8_E5M2 = FloatFormat("float8_e5m2", 5, 2, 15, True, "F8_E5M2")

FORMATS: dict[str, FloatFormat] = {f.name: f for f in (BFLOAT16, FLOAT16, FLOAT32, FLOAT8_E4M3FN, FLOAT8_E5M2)}
"""The float formats by name."""


def float_format(name: str) -> FloatFormat:
    """The format of that name.

    Raises:
        FormatError: no such format.
    """
    try:
        return FORMATS[name]
    except KeyError:
        raise FormatError(f"unknown number format {name!r}", hint=f"known: {', '.join(FORMATS)}") from None
