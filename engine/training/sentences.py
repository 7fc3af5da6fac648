"""Sentences to train on: our own templates, strings of lexicon words, and sentences out of licence texts.

Nothing here is a corpus: the generator is seeded and writes the same text on every machine. The licence texts
are those that a Debian system carries; where there are none, that share is left out.
"""

import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

LICENCES = Path("/usr/share/common-licenses")

_SLOTS: dict[str, tuple[str, ...]] = {
    "who": (
        "the old teacher", "my sister", "a young doctor", "our neighbour", "the captain", "his father", "the children",
        "a quiet stranger", "the baker", "her brother", "the whole family", "a tired driver", "the new manager",
        "the engineer", "an artist", "every visitor", "the judge", "the farmer", "a few students", "the nurse",
        "nobody", "someone", "the boy next door", "the woman in the blue coat", "an honest lawyer", "the pilot",
        "the gardener", "the youngest girl", "a group of soldiers", "the mayor", "we", "they", "you", "I",
    ),
    "did": (
        "found", "carried", "forgot", "sold", "painted", "opened", "closed", "watched", "bought", "borrowed", "broke",
        "mended", "measured", "described", "hid", "returned", "washed", "examined", "lifted", "dropped", "shook",
        "chose", "noticed", "admired", "refused", "counted", "moved", "covered", "followed", "reached", "searched",
    ),
    "what": (
        "the wooden box", "a yellow umbrella", "the broken window", "a letter from the north", "the heavy door",
        "two bottles of milk", "a basket of apples", "the missing key", "a silver watch", "the garden gate",
        "an empty suitcase", "the last page of the book", "a piece of cheese", "the kitchen table",
        "a small orange cat",
        "the green bicycle", "a map of the valley", "the music room", "a thick jacket", "the engine of the boat",
        "a cup of hot coffee", "the telephone", "an unusual shell", "the photograph", "a measure of sugar",
        "the treasure under the bridge", "a pair of leather shoes", "the village church", "a vision of the future",
    ),
    "where": (
        "behind the house", "near the river", "at the station", "in the middle of the road", "under the stairs",
        "on the other side of town", "beside the fire", "in a large hall", "above the shop",
        "at the edge of the forest",
        "down by the harbour", "in the dark", "outside the theatre", "between two mountains", "along the coast",
        "on a narrow path", "in the old garage", "at the top of the hill", "inside the museum", "across the bay",
    ),
    "when": (
        "yesterday evening", "early in the morning", "before the rain began", "last Thursday", "after a long pause",
        "at noon", "during the winter", "while the others slept", "once a year", "in the month of August", "at last",
        "a moment ago", "on Wednesday", "just before dawn", "as soon as the music stopped", "every other weekend",
    ),
    "how": (
        "very slowly", "with great care", "without a word", "in a hurry", "as usual", "rather badly", "with both hands",
        "quite by chance", "for the first time", "against all advice", "in silence", "with some pleasure", "twice",
    ),
    "thing": (
        "the weather", "the journey", "his answer", "the noise", "this question", "the water", "her voice", "the price",
        "the soup", "their house", "the new road", "the view", "a good idea", "the whole story", "the evening paper",
        "the choice", "our plan", "the moon", "the first snow", "the measure", "the oil lamp", "the royal garden",
    ),
    "adj": (
        "cold", "beautiful", "rather strange", "too expensive", "clear", "almost perfect", "much better than before",
        "dangerous", "hard to explain", "pleasant", "a little sour", "as sharp as a knife", "quiet", "enormous",
        "impossible to forget", "rough", "golden", "usual for the season", "worth the trouble", "far too short",
    ),
    "verb": (
        "wait", "sing", "leave", "explain", "swim across the lake", "pay for the damage", "join the others", "help us",
        "change the rule", "read it aloud", "think about it", "come back", "cook dinner", "speak to the judge",
        "push the car", "share the cake", "fix the roof", "catch the early train", "look for a job", "build a fence",
    ),
    "say": ("said", "thought", "believed", "knew", "heard", "wrote", "felt", "agreed", "decided", "guessed"),
    "mod": ("should", "could", "would never", "might", "must", "will", "can", "had to", "wanted to", "used to"),
    "num": ("two", "three", "five", "seven", "nine", "eleven", "twelve", "fourteen", "thirty", "sixty", "a hundred"),
}  # fmt: skip

_TEMPLATES = (
    "{who} {did} {what} {where}.",
    "{when}, {who} {did} {what}.",
    "{who} {did} {what} {how}, and {who} {did} {what}.",
    "{thing} was {adj}, but {who} {mod} {verb}.",
    "{who} {say} that {thing} was {adj}.",
    "If {thing} is {adj}, {who} {mod} {verb}.",
    "{who} {mod} {verb} {when}.",
    "{where}, {who} {did} {what} {how}.",
    "There were {num} of them {where}, and {thing} was {adj}.",
    "{thing} and {thing} are {adj}.",
    "{who} {did} {what}; {who} {did} {what}.",
    "Because {thing} seemed {adj}, {who} {did} {what}.",
    "It is {adj} to {verb} {where}.",
    "{who}, {who} and {who} {mod} {verb}.",
    "After {num} years {who} {did} {what} again.",
    "Please {verb}, and then {verb} {how}.",
    "How {adj} {thing} looked {when}!",
    "Nothing about {thing} was {adj}, {who} {say}.",
    "{who} {mod} {verb}, {who} {mod} {verb}, and {thing} stays {adj}.",
    "When {who} {did} {what}, {thing} became {adj}.",
    "Did {who} {verb} {when}?",
    "Is {thing} really {adj}?",
    "{what} lay {where}.",
    "Only {num} people {say} it was {adj}.",
)


def templated(rng: random.Random) -> str:
    """Return one sentence from the templates, with its first letter a capital."""
    template = rng.choice(_TEMPLATES)
    text = re.sub(r"\{(\w+)\}", lambda slot: rng.choice(_SLOTS[slot.group(1)]), template)
    return text[0].upper() + text[1:]


def word_string(rng: random.Random, words: Sequence[str]) -> str:
    """Return five to ten unrelated words as one sentence: odd prosody, wide phone coverage."""
    chosen = [rng.choice(words) for _ in range(rng.randint(5, 10))]
    if len(chosen) > 6 and rng.random() < 0.5:
        chosen[3] += ","
    return " ".join(chosen).capitalize() + "."


def licence_sentences(folder: Path = LICENCES) -> list[str]:
    """Return the sentences of 4 to 14 plain words out of the licence texts in `folder`, each once, sorted."""
    found: set[str] = set()
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        text = re.sub(r"\s+", " ", path.read_text("utf-8", "replace"))
        for sentence in re.split(r"(?<=[.;:])\s", text):
            words = sentence.split()
            plain = re.fullmatch(r"[A-Za-z][A-Za-z ,']+[.;:]", sentence) is not None
            if plain and 4 <= len(words) <= 14 and not sentence.isupper():
                found.add(sentence.rstrip(".;:") + ".")
    return sorted(found)


def sentences(seed: int, count: int, words: Sequence[str]) -> Iterator[str]:
    """Yield `count` sentences: licence texts first (at most a sixth), then 70 % templates and 30 % word strings.

    Args:
        seed: Start of the generator; the same seed gives the same sentences.
        count: How many.
        words: Lexicon words for the strings, lower case.
    """
    rng = random.Random(seed)
    licences = licence_sentences()
    rng.shuffle(licences)
    given = licences[: count // 6]
    yield from given
    for _ in range(count - len(given)):
        yield word_string(rng, words) if words and rng.random() < 0.3 else templated(rng)
