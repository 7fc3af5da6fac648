"""Written English to plain words and pauses: numbers, money, dates, times, units, abbreviations, initials, addresses.

The rules run in order; each is a pattern and what it becomes. Letters to be spelled are written as "<a>".
"""

import re
import unicodedata
from collections.abc import Callable

from engine.text.en.numbers import cardinal, decimal, digits, ordinal, year

_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_MONTH_PATTERN = (
    "(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|"
    "Nov(?:ember)?|Dec(?:ember)?)"
)
_TITLES = {
    "Mr": "mister", "Mrs": "missus", "Ms": "ms", "Dr": "doctor", "Prof": "professor", "Sgt": "sergeant",
    "Gen": "general", "Col": "colonel", "Lt": "lieutenant", "Capt": "captain", "Rev": "reverend",
    "Jr": "junior", "Sr": "senior", "Mt": "mount", "Ave": "avenue", "Rd": "road", "Inc": "incorporated",
    "Ltd": "limited", "Co": "company", "Corp": "corporation", "vs": "versus", "etc": "etcetera",
    "approx": "approximately", "dept": "department", "est": "established", "fig": "figure", "Fig": "figure",
    "Vol": "volume", "vol": "volume", "Ch": "chapter", "Gov": "governor", "Sen": "senator",
}  # fmt: skip
_UNITS = {
    "km/h": "kilometres per hour", "km": "kilometres", "cm": "centimetres", "mm": "millimetres",
    "m": "metres", "kg": "kilograms", "g": "grams", "mg": "milligrams", "mph": "miles per hour",
    "ft": "feet", "lb": "pounds", "lbs": "pounds", "oz": "ounces", "kHz": "kilohertz", "MHz": "megahertz",
    "GHz": "gigahertz", "Hz": "hertz", "KB": "kilobytes", "kB": "kilobytes", "MB": "megabytes",
    "GB": "gigabytes", "TB": "terabytes", "ms": "milliseconds", "min": "minutes", "h": "hours",
    "s": "seconds", "V": "volts", "W": "watts", "kW": "kilowatts", "dB": "decibels",
    "°C": "degrees celsius", "°F": "degrees fahrenheit", "°": "degrees", "%": "percent", "l": "litres",
    "L": "litres", "ml": "millilitres", "mi": "miles", "yd": "yards", "x": "times",
}  # fmt: skip
_ONE_OF = {"feet": "foot", "degrees celsius": "degree celsius", "degrees fahrenheit": "degree fahrenheit"}
_MONEY = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent"), "¥": ("yen", "sen")}
_SYMBOLS = {
    "&": " and ", "+": " plus ", "=": " equals ", "@": " at ", "#": " number ", "/": " slash ",
    "%": " percent ", "©": " copyright ", "±": " plus or minus ", "×": " times ", "÷": " divided by ",
    "<": " less than ", ">": " greater than ",
}  # fmt: skip
_SPOKEN_CAPITALS = {
    "A", "AIDS", "ALL", "AN", "AND", "ARE", "AS", "AT", "BE", "BY", "DO", "FOR", "GO", "HE", "I", "IF",
    "IN", "IS", "IT", "JSON", "LASER", "ME", "MY", "NASA", "NATO", "NEW", "NO", "NOT", "OF", "OK", "ON",
    "ONE", "OPEC", "OR", "PIN", "RADAR", "RAM", "ROM", "SIM", "SO", "THE", "TO", "TWO", "UNESCO", "UNICEF",
    "UP", "WE", "YAML", "YOU",
}  # fmt: skip
_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}
_NUMBER = r"(?<!\d)\d+(?:,\d{3})*(?:\.\d+)?"  # the look-behind keeps long rows of digits linear
Rule = tuple["re.Pattern[str]", Callable[["re.Match[str]"], str]]


def _spell(text: str) -> str:
    return " " + " ".join(f"<{letter.lower()}>" for letter in text if letter.isalpha()) + " "


def _month(name: str) -> str:
    return next(month for month in _MONTHS if month.startswith(name[:3].lower()))


def _iso_date(m: re.Match[str]) -> str:
    y, month, day = int(m[1]), int(m[2]), int(m[3])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return " ".join(digits(part) for part in m.groups())
    return f"{_MONTHS[month - 1]} {ordinal(day)} {year(y)}"


def _slash_date(m: re.Match[str]) -> str:
    month, day = int(m[1]), int(m[2])
    if month > 12:
        month, day = day, month
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return m[0].replace("/", " slash ")
    return f"{_MONTHS[month - 1]} {ordinal(day)} {year(int(m[3]))}"


def _time(m: re.Match[str]) -> str:
    hour, minute = int(m[1]), int(m[2])
    half = _spell(m[3]) if m[3] else ""
    if hour > 24 or minute > 59:
        return f"{cardinal(hour)} {cardinal(minute)}{half}"
    if minute == 0:
        return f"{cardinal(hour)}{half or (' o clock' if 0 < hour <= 12 else ' hundred')}"
    return f"{cardinal(hour)} {'oh ' if minute < 10 else ''}{cardinal(minute)}{half}"


def _money(m: re.Match[str]) -> str:
    unit, small = _MONEY[m[1]]
    amount, scale = m[2].replace(",", ""), m[3]
    if scale:
        return f"{decimal(amount)} {scale.strip()} {unit if unit == 'yen' else unit + 's'}"
    whole, _, fraction = amount.partition(".")
    words = []
    if whole.strip("0") or not fraction:
        words.append(f"{decimal(whole)} {unit if whole == '1' or unit == 'yen' else unit + 's'}")
    cents = int((fraction + "0")[:2]) if fraction else 0
    if cents:
        plural = {"penny": "pence"}.get(small, small + "s")
        words.append(f"{cardinal(cents)} {small if cents == 1 else plural}")
    return " and ".join(words) or f"zero {unit}s"


def _unit(m: re.Match[str]) -> str:
    unit = _UNITS[m[2]]
    if m[1] == "1" and unit.endswith("s") and unit not in {"celsius"}:
        unit = _ONE_OF.get(unit, unit.replace("metres per", "metre per") if " per " in unit else unit[:-1])
    return f"{decimal(m[1])} {unit} "


def _fraction(m: re.Match[str]) -> str:
    top, bottom = int(m[1]), int(m[2])
    if (top, bottom) == (1, 2):
        return "one half"
    if not 2 <= bottom <= 100 or top >= bottom:
        return f"{cardinal(top)} slash {cardinal(bottom)}"
    name = {2: "half", 4: "quarter"}.get(bottom, ordinal(bottom))
    return f"{cardinal(top)} {name}{'' if top == 1 else 's'}"


def _address(m: re.Match[str]) -> str:
    text = m[0].rstrip(".,;:!?")
    tail = m[0][len(text) :]
    text = re.sub(r"^https?://(www\.)?", "", text)
    for mark, word in (
        (".", " dot "),
        ("@", " at "),
        ("/", " slash "),
        ("-", " dash "),
        ("_", " underscore "),
    ):
        text = text.replace(mark, word)
    return text + tail


def _roman(m: re.Match[str]) -> str:
    values = [_ROMAN[ch] for ch in m[2]]
    total = sum(-v if i + 1 < len(values) and v < values[i + 1] else v for i, v in enumerate(values))
    return f"{m[1]} {cardinal(total)}"


def _plain_number(m: re.Match[str]) -> str:
    text = m[0]
    if re.fullmatch(r"1[1-9]\d\d|20\d\d", text):
        return f" {year(int(text))} "
    if len(text) > 1 and text[0] == "0" and text.isdigit():
        return f" {digits(text)} "
    return f" {decimal(text)} "


def _capitals(m: re.Match[str]) -> str:
    word, plural = m[1], m[2]
    spoken = word in _SPOKEN_CAPITALS or (len(word) > 4 and re.search("[AEIOUY]", word[1:-1]) is not None)
    return word.lower() + plural if spoken else _spell(word).rstrip() + ("'s" if plural else "") + " "


def _rule(pattern: str, become: Callable[[re.Match[str]], str], flags: int = 0) -> Rule:
    return re.compile(pattern, flags), become


_RULES: tuple[Rule, ...] = (
    _rule(r"(?:https?://\S+|\b[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64})+|\bwww\.\S+)", _address),
    _rule(r"\b([\w-]{1,64})\.(com|org|net|io|edu|gov)\b", lambda m: f"{m[1]} dot {m[2]}"),
    _rule(r"\b(\d{4})-(\d{2})-(\d{2})\b", _iso_date),
    _rule(r"(?<![\w.-])-(?=[$£€¥]?\d)", lambda _: "minus "),
    _rule(r"\b(\d{1,2})/(\d{1,2})/((?:1|2)\d{3})\b", _slash_date),
    _rule(rf"\b(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? ({_MONTH_PATTERN})\b\.?",
          lambda m: f"{ordinal(int(m[1]))} of {_month(m[2])}"),
    _rule(rf"\b({_MONTH_PATTERN})\.? (\d{{1,2}})(?:st|nd|rd|th)?\b(?!:|\.\d)",
          lambda m: f"{_month(m[1])} {ordinal(int(m[2]))}"),
    _rule(rf"\b({_MONTH_PATTERN})\.? (\d{{4}})\b", lambda m: f"{_month(m[1])} {year(int(m[2]))}"),
    _rule(r"\b(\d{1,2}):(\d{2})(?::\d{2})?(?: ?([AaPp])\.?[Mm]\b\.?)?",
          lambda m: _time(m) + (_spell("m") if m[3] else "")),
    _rule(r"\b(\d{1,2}) ?([AaPp])\.?[Mm]\b\.?", lambda m: f"{cardinal(int(m[1]))}{_spell(m[2] + 'm')}"),
    _rule(rf"([$£€¥]) ?({_NUMBER})( (?:hundred|thousand|million|billion|trillion))?", _money),
    _rule(r"\b(\d{3})-(\d{3,4})(?:-(\d{4}))?\b", lambda m: ", ".join(digits(part) for part in m.groups() if part)),
    _rule(r"\b(\d\d)(\d)0s\b", lambda m: f"{cardinal(int(m[1]))} " + ("hundreds" if m[2] == "0" else
          cardinal(10 * int(m[2]))[:-1] + "ies" if m[2] != "1" else "tens")),
    _rule(rf"({_NUMBER}) ?({'|'.join(sorted(map(re.escape, _UNITS), key=len, reverse=True))})(?![A-Za-z0-9])", _unit),
    _rule(r"\b(\d+)(?:st|nd|rd|th)\b", lambda m: ordinal(int(m[1])) if len(m[1]) < 16 else digits(m[1])),
    _rule(r"\b(\d{1,3})/(\d{1,3})\b", _fraction),
    _rule(rf"({_NUMBER}) ?[-–] ?({_NUMBER})", lambda m: f"{_plain_number_of(m[1])} to {_plain_number_of(m[2])}"),
    _rule(r"\b((?:Chapter|Part|Book|Act|Scene|Volume|Section|War)) ([IVXLC]+)\b", _roman),
    _rule(r"\bSt\.(?= [A-Z])", lambda _: "saint"),
    _rule(r"\bSt\b\.?", lambda _: "street"),
    _rule(r"\bNos?\. ?(?=\d)", lambda _: "number "),
    _rule(r"\be\.g\.,?", lambda _: "for example,"),
    _rule(r"\bi\.e\.,?", lambda _: "that is,"),
    _rule(rf"\b({'|'.join(_TITLES)})\.", lambda m: _TITLES[m[1]]),
    _rule(r"\b(Mr|Mrs|Dr|Prof)\b(?= [A-Z])", lambda m: _TITLES[m[1]]),
    _rule(r"\b((?:[A-Za-z]\.){2,})", lambda m: _spell(m[1])),
    _rule(r"\b([A-Z])\.(?= ?[A-Z])", lambda m: _spell(m[1])),
    _rule(r"\b([A-Z]{2,})(s?)\b", _capitals),
    _rule(r"([a-z])([A-Z])", lambda m: f"{m[1]} {m[2]}"),
    _rule(r"([A-Za-z])-?(?=\d)", lambda m: f"{m[1]} "),
    _rule(_NUMBER, _plain_number),
    _rule(r"(?<![\w<'])([B-HJ-Zb-hj-z])(?![\w>'])", lambda m: _spell(m[1])),
)  # fmt: skip


def _plain_number_of(text: str) -> str:
    match = re.fullmatch(_NUMBER, text)
    return _plain_number(match).strip() if match else text


def normalize(text: str) -> str:
    """Return the text with every number, sign and abbreviation written out; `.,;:!?` stay as marks of pauses."""
    text = text.replace("’", "'").replace("‘", "'").replace("…", ".").replace("—", ", ").replace("–", "-")
    text = re.sub(r"\s*[()\[\]{}]\s*", ", ", text)
    text = re.sub(r"[“”\"*_`|\\^~]", " ", text)
    text = re.sub(r"(?<=\w) -+ (?=\w)", ", ", text)
    letters = [ch for ch in text if ch.isalpha()]
    if len(letters) > 12 and sum(ch.isupper() for ch in letters) > 0.8 * len(letters):
        text = text.capitalize()  # shouting is not spelling
    for pattern, become in _RULES:
        text = pattern.sub(become, text)
    text = re.sub("|".join(map(re.escape, _SYMBOLS)), _symbol, _keep_letters(text))
    text = "".join(ch for ch in unicodedata.normalize("NFKD", text) if not unicodedata.combining(ch))
    text = re.sub(r"(?<=[a-z])-(?=[a-z])", " ", text.lower())
    text = re.sub(r"[^a-z'<>.,;:!?\s\x01\x02]", " ", text).replace("\x01", "<").replace("\x02", ">")
    return re.sub(r"\s+", " ", re.sub(r"\s+(?=[.,;:!?])", "", text)).strip()


def _symbol(m: re.Match[str]) -> str:
    return _SYMBOLS[m[0]]


def _keep_letters(text: str) -> str:
    """Hide the brackets of spelled letters from the rule for "less than"."""
    return re.sub(r"<([a-z])>", "\x01\\1\x02", text)
