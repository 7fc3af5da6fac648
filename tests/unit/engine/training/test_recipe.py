"""The parts of the base's recipe: text, labels, batches and the loop that resumes."""

import random

import numpy as np
import pytest
import torch

from engine.config import VoiceConfig
from engine.errors import BadVoice, Cancelled
from engine.models.registry import build_vocoder
from engine.text.symbols import INDEX, PHONES
from engine.training.batches import Crops, Sentences
from engine.training.debug import CONFIG, make_debug_voice, train_step
from engine.training.features import Utterance, tokens_of
from engine.training.loop import Schedule, arrays, load_arrays, run
from engine.training.losses import multi_resolution_stft
from engine.training.sentences import sentences, templated, word_string
from engine.training.teacher import festival_script, read_labels, read_lexicon


def test_the_same_seed_writes_the_same_sentences():
    words = ("river", "stone", "garden")

    assert list(sentences(3, 50, words)) == list(sentences(3, 50, words))
    assert list(sentences(3, 50, words)) != list(sentences(4, 50, words))
    assert all(text[0].isupper() and text[-1] in ".?!" for text in sentences(5, 50, words))


def test_templates_are_filled_and_word_strings_use_the_lexicon():
    rng = random.Random(0)

    assert all("{" not in templated(rng) for _ in range(200))
    assert set(word_string(rng, ("stone",)).lower().replace(",", "").rstrip(".").split()) == {"stone"}


def test_text_cannot_leave_its_string_in_the_script_for_festival(tmp_path):
    script = festival_script(['Say "hi" (exit) \\ now'], tmp_path)

    assert script.splitlines()[-1].count('"') == 4
    assert "(exit)" not in script


def test_labels_become_tokens_whose_frames_add_up(tmp_path):
    (tmp_path / "x.lab").write_text("pau 0.1 0 0 0\nhh 0.15 1 0 0\nay 0.4 1 1 0\npau 0.5 0 0 0\n")

    tokens, durations = tokens_of(tmp_path / "x.lab", VoiceConfig(phones=PHONES), 41)

    assert tokens.tolist() == [
        [INDEX["pau"], 0, 0],
        [INDEX["hh"], 0, 1],
        [INDEX["ay"], 1, 0],
        [INDEX["pau"], 0, 0],
    ]
    assert durations.tolist() == [8, 4, 20, 9]
    assert read_labels(tmp_path / "x.lab")[1] == ("hh", 0.15, 1, True)


def test_the_lexicon_is_read_with_stress_on_vowels(tmp_path):
    path = tmp_path / "dict"
    path.write_text(
        'MNCL\n("about" nil (((ax) 0) ((b aw t) 1)))\n("a" dt (((ax) 0)))\n("a" n (((ey) 1)))\n("x1" nil bad)\n'
    )

    assert read_lexicon(path) == {"about": ("ax0", "b", "aw1", "t"), "a": ("ax0",)}


def utterance(n_frames, n_tokens=4, value=0.0):
    tokens = np.zeros((n_tokens, 3), np.int64)
    durations = np.full(n_tokens, n_frames // n_tokens)
    durations[-1] += n_frames - durations.sum()
    n = (n_frames - 1) * 200
    samples = np.full(n, value, np.float32)
    return Utterance(
        samples,
        np.full((40, n_frames), value, np.float32),
        np.full(n_frames, 100, np.float32),
        tokens,
        durations,
    )


def test_a_batch_depends_on_its_number_alone():
    crops = Crops(
        [(1.0, [utterance(100, value=1.0), utterance(150, value=2.0)])], hop=200, seed=5, frames=20, size=3
    )

    one, again, other = crops(7), crops(7), crops(8)

    assert [part.shape for part in one] == [(3, 40, 20), (3, 20), (3, 3800), (3, 3800)]
    for a, b in zip(one, again, strict=True):
        torch.testing.assert_close(a, b)
    assert not torch.equal(one[2], other[2])


def test_sentences_are_padded_with_a_token_that_is_no_phone():
    tokens, durations, targets = Sentences([], size=2, pad=41, seed=0).collate(
        [utterance(20), utterance(30, 6)]
    )

    assert tokens.shape == (2, 6, 3)
    assert tokens[0, 4:, 0].tolist() == [41, 41]
    assert durations.sum(dim=1).tolist() == [20, 30]
    assert targets[3].sum(dim=1).tolist() == [20, 30]


def line():
    torch.manual_seed(0)
    return torch.nn.Linear(2, 1)


def step_for(net):
    def step(number):
        generator = torch.Generator().manual_seed(number)
        x = torch.randn(8, 2, generator=generator)
        return (net(x) - x.sum(dim=1, keepdim=True)).square().mean()

    return step


def test_a_resumed_run_ends_like_one_that_was_never_stopped(tmp_path):
    schedule = Schedule(1e9, 0.05, max_steps=40, warmup=1)
    whole = line()
    losses = run(whole, step_for(whole), schedule)
    assert losses[-1] < losses[0] / 4
    stopped, seen = line(), []

    with pytest.raises(Cancelled):
        run(
            stopped,
            step_for(stopped),
            schedule,
            checkpoint=tmp_path / "c",
            progress=seen.append,
            cancelled=lambda: len(seen) >= 15,
        )
    fresh = line()
    again = run(fresh, step_for(fresh), schedule, checkpoint=tmp_path / "c")

    assert len(again) == 40
    np.testing.assert_allclose(again, losses, rtol=1e-5)
    torch.testing.assert_close(fresh.weight, whole.weight)


def test_weights_that_do_not_fit_are_refused_by_name():
    net = line()
    with pytest.raises(BadVoice, match="bias"):
        load_arrays(net, {"weight": np.zeros((1, 2), np.float32)})
    with pytest.raises(BadVoice, match="weight"):
        load_arrays(net, {**arrays(net), "weight": np.zeros((2, 2), np.float32)})


def test_the_loss_is_nothing_for_equal_waves_and_grows_with_the_difference():
    x = torch.randn(1, 8000, generator=torch.Generator().manual_seed(0)) * 0.1

    same, near, far = (
        float(multi_resolution_stft(x, x + gap * torch.ones_like(x))) for gap in (0.0, 0.01, 0.3)
    )

    assert same < 1e-6
    assert near < far


def test_the_debug_vocoder_learns_in_its_one_step():
    torch.manual_seed(1)

    before, after = train_step(build_vocoder(CONFIG), seed=3)

    assert after < before


def test_the_same_seed_makes_the_same_debug_voice(tmp_path):
    one, again, other = (
        make_debug_voice(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )

    assert one[0].read_bytes() == again[0].read_bytes()
    assert one[1].read_bytes() == again[1].read_bytes()
    assert one[1].read_bytes() != other[1].read_bytes()
