"""The phone set: the 41 symbols of festival's US English voices, with the order that models are trained on."""

PAUSE = "pau"
VOWELS = ("aa", "ae", "ah", "ao", "aw", "ax", "ay", "eh", "er", "ey", "ih", "iy", "ow", "oy", "uh", "uw")
CONSONANTS = (
    "b", "ch", "d", "dh", "f", "g", "hh", "jh", "k", "l", "m", "n", "ng", "p", "r", "s", "sh", "t", "th",
    "v", "w", "y", "z", "zh",
)  # fmt: skip
PHONES = (PAUSE, *VOWELS, *CONSONANTS)
INDEX = {phone: index for index, phone in enumerate(PHONES)}
