"""Numbers as English words: cardinals, ordinals, years, decimals, digits one by one."""

_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SCALES = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (10**3, "thousand"))
_IRREGULAR = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip
LARGEST = 10**15 - 1


def cardinal(n: int) -> str:
    """Return 0 <= n < 10**15 in words: 1234 is "one thousand two hundred thirty four"; larger ones digit by digit."""
    if n > LARGEST:
        return digits(str(n))
    if n < 20:
        return _ONES[n]
    if n < 100:
        return _TENS[n // 10] + (f" {_ONES[n % 10]}" if n % 10 else "")
    if n < 1000:
        return f"{_ONES[n // 100]} hundred" + (f" {cardinal(n % 100)}" if n % 100 else "")
    scale, name = next(item for item in _SCALES if n >= item[0])
    return f"{cardinal(n // scale)} {name}" + (f" {cardinal(n % scale)}" if n % scale else "")


def ordinal(n: int) -> str:
    """Return n as an ordinal: 21 is "twenty first"."""
    head, _, last = cardinal(n).rpartition(" ")
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last.endswith("y"):
        last = last[:-1] + "ieth"
    else:
        last += "th"
    return f"{head} {last}".strip()


def year(n: int) -> str:
    """Return a year from 1000 to 2999 as people say it: 1905 is "nineteen oh five", 2026 "twenty twenty six"."""
    century, rest = divmod(n, 100)
    if n % 1000 < 10 and n >= 1000:
        return cardinal(n)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def digits(text: str) -> str:
    """Return each digit as a word; other characters are left out."""
    return " ".join(_ONES[int(ch)] for ch in text if ch in "0123456789")


def decimal(text: str) -> str:
    """Return "3.14" as "three point one four", "1,250" as a cardinal; text holds digits, commas, one point."""
    whole, _, fraction = text.replace(",", "").partition(".")
    words = cardinal(int(whole or "0")) if len(whole) < 16 else digits(whole)
    return f"{words} point {digits(fraction)}" if fraction else words
