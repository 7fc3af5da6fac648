"""The teachers of the base: festival's HTS voice with its phone labels, and flite's voices; both as programs.

Needs the Debian packages festival, festvox-us-slt-hts, festlex-cmu and flite. Only training uses them.
"""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

LEXICON = Path("/usr/share/festival/dicts/cmu/cmudict-0.4.out")
FLITE_VOICES = ("rms", "awb", "kal16", "slt")

_SCHEME = """
(voice_cmu_us_slt_arctic_hts)
(define (vlm_labels utt file)
  (let ((fd (fopen file "w")))
    (mapcar
      (lambda (s)
        (format fd "%s %f %s %s %s\\n" (item.name s) (item.feat s "end")
          (item.feat s "R:SylStructure.parent.stress")
          (item.feat s "pos_in_syl")
          (item.feat s "R:SylStructure.parent.pos_in_word")))
      (utt.relation.items utt 'Segment))
    (fclose fd)))
(define (vlm_speak text stem)
  (let ((u (Utterance Text nil)))
    (utt.set_feat u "iform" (string-append "\\"" text "\\""))
    (utt.synth u)
    (utt.wave.resample u 16000)
    (utt.save.wave u (string-append stem ".wav") 'riff)
    (vlm_labels u (string-append stem ".lab"))))
"""


def festival_script(texts: Sequence[str], out: Path) -> str:
    """Return the Scheme script that speaks every text into `out`/00000.wav with a label file beside it."""
    calls = []
    for index, text in enumerate(texts):
        plain = re.sub(r"[^A-Za-z ,.;:!?'-]", " ", text)
        calls.append(f'(vlm_speak "{plain}" "{out / f"{index:05d}"}")')
    return _SCHEME + "\n".join(calls) + "\n"


def speak_festival(texts: Sequence[str], out: Path) -> None:
    """Speak all texts in one festival process: 16 kHz WAV and label files (44 times real time, measured).

    A label line is: phone, end in seconds, stress of its syllable, place in the syllable, place of that in the word.

    Raises:
        FileNotFoundError: festival is not installed.
        subprocess.CalledProcessError: The voice is not installed or festival failed.
    """
    out.mkdir(parents=True, exist_ok=True)
    script = out / "speak.scm"
    script.write_text(festival_script(texts, out), "utf-8")
    subprocess.run(["festival", "-b", str(script)], check=True, stdin=subprocess.DEVNULL, timeout=3600)


def speak_flite(texts: Sequence[str], voice: str, out: Path) -> None:
    """Speak all texts with one flite voice into `out`/00000.wav (16 kHz).

    Raises:
        FileNotFoundError: flite is not installed.
        subprocess.CalledProcessError: The voice is unknown or flite failed.
    """
    out.mkdir(parents=True, exist_ok=True)
    for index, text in enumerate(texts):
        target = out / f"{index:05d}.wav"
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(target)], check=True, timeout=120)


def read_lexicon(path: Path = LEXICON) -> dict[str, tuple[str, ...]]:
    """Return word -> phones of festival's CMU lexicon, vowels marked with their stress digit; first entry wins.

    Raises:
        FileNotFoundError: The package festlex-cmu is not installed.
    """
    entry = re.compile(r'^\("([a-z\']+)" (\S+) \((.*)\)\)$')
    syllable = re.compile(r"\(\(([a-z ]+)\) (\d)\)")
    lexicon: dict[str, tuple[str, ...]] = {}
    for line in path.read_text("latin-1").splitlines():
        match = entry.match(line.strip())
        if match is None:
            continue
        phones: list[str] = []
        for names, stress in syllable.findall(match.group(3)):
            phones += [name + stress if name[0] in "aeiou" else name for name in names.split()]
        if phones:
            lexicon.setdefault(match.group(1), tuple(phones))
    return lexicon


def read_labels(path: Path) -> list[tuple[str, float, int, bool]]:
    """Return (phone, end in seconds, stress 0 or 1, first of its word) for each line of a label file."""
    rows = []
    for line in path.read_text("ascii").splitlines():
        phone, end, stress, in_syllable, in_word = line.split()
        rows.append(
            (phone, float(end), int(stress == "1"), in_syllable == "0" and in_word == "0" and phone != "pau")
        )
    return rows
