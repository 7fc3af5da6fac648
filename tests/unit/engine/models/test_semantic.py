"""The semantic decoder beside the GPT-2 of transformers, with the same random weights."""

import pytest
import torch
from torch import nn

from engine.errors import BadVoice
from engine.models.semantic import TextSemanticDecoder

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def gpt2():
    torch.manual_seed(7)
    config = transformers.GPT2Config(vocab_size=500, n_embd=768, n_layer=6, n_head=12, n_positions=1024)
    config._attn_implementation = "eager"
    model = transformers.GPT2Model(config).eval()
    with torch.no_grad():  # biases and norms are zeros and ones at the start; mixed-up ones would go unseen
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@pytest.fixture(scope="module")
def proj():
    torch.manual_seed(8)
    return nn.Linear(768, 768)


@pytest.fixture(scope="module")
def decoder(gpt2, proj):
    model = TextSemanticDecoder().eval()
    model.load_gpt2(gpt2.state_dict(), proj.state_dict())
    return model


def _theirs(gpt2, proj, **inputs):
    with torch.no_grad():
        return proj(gpt2(**inputs).last_hidden_state)


def _ids(batch, length, seed=0):
    return torch.randint(0, 500, (batch, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("length", [1, 2, 37, 200])
def test_the_same_weights_give_the_same_numbers(gpt2, proj, decoder, length):
    ids = _ids(2, length)

    with torch.no_grad():
        ours = decoder(ids)

    assert ours.shape == (2, length, 768)
    assert torch.allclose(ours, _theirs(gpt2, proj, input_ids=ids), atol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side_gives_the_same_numbers_where_there_is_text(gpt2, proj, decoder, side):
    ids, mask = _ids(3, 20), torch.ones(3, 20, dtype=torch.long)
    for row, missing in enumerate((0, 5, 19)):
        if missing:
            mask[row, slice(0, missing) if side == "left" else slice(20 - missing, 20)] = 0

    with torch.no_grad():
        ours = decoder(ids, mask)

    theirs = _theirs(gpt2, proj, input_ids=ids, attention_mask=mask)
    assert torch.allclose(ours[mask == 1], theirs[mask == 1], atol=1e-5)
    assert bool(torch.isfinite(ours).all())


def test_what_padding_holds_does_not_matter(decoder):
    ids, mask = _ids(1, 12), torch.ones(1, 12, dtype=torch.long)
    mask[0, :4] = 0
    other = ids.clone()
    other[0, :4] = 499 - other[0, :4]

    with torch.no_grad():
        one, two = decoder(ids, mask), decoder(other, mask)

    assert torch.equal(one[:, 4:], two[:, 4:])


def test_a_mask_of_ones_changes_nothing(decoder):
    ids = _ids(2, 15)
    with torch.no_grad():
        assert torch.equal(decoder(ids), decoder(ids, torch.ones(2, 15)))


def test_embeddings_can_stand_in_for_ids(gpt2, proj, decoder):
    embeds = torch.randn(2, 9, 768, generator=torch.Generator().manual_seed(3))

    with torch.no_grad():
        ours = decoder(inputs_embeds=embeds)
        by_id = decoder(inputs_embeds=decoder.wte(_ids(1, 5)))

    assert torch.allclose(ours, _theirs(gpt2, proj, inputs_embeds=embeds), atol=1e-5)
    assert torch.equal(by_id, decoder(_ids(1, 5)))


def test_a_position_does_not_see_later_ones(decoder):
    ids = _ids(1, 30)
    changed = ids.clone()
    changed[0, 20:] = 499 - changed[0, 20:]

    with torch.no_grad():
        assert torch.allclose(decoder(ids)[:, :20], decoder(changed)[:, :20], atol=1e-6)


@pytest.mark.parametrize("cuts", [(1,) * 12, (5, 1, 6), (12,)])
def test_going_on_from_a_cache_gives_what_the_whole_sequence_gives(decoder, cuts):
    ids, cache, parts, at = _ids(2, 12), None, [], 0

    with torch.no_grad():
        for length in cuts:
            out, cache = decoder.step(ids[:, at : at + length], cache)
            parts.append(out)
            at += length

        assert torch.allclose(torch.cat(parts, dim=1), decoder(ids), atol=1e-5)


def test_both_or_neither_of_ids_and_embeddings_are_refused(decoder):
    with pytest.raises(ValueError, match="either"):
        decoder()
    with pytest.raises(ValueError, match="either"):
        decoder(_ids(1, 3), inputs_embeds=torch.zeros(1, 3, 768))


def test_1024_positions_are_the_most(decoder):
    small = TextSemanticDecoder(10, 24, 1, num_heads=2, inner_size=8)
    assert small(torch.zeros(1, 1024, dtype=torch.long)).shape == (1, 1024, 24)
    with pytest.raises(ValueError, match="1025"):
        small(torch.zeros(1, 1025, dtype=torch.long))
    _, cache = small.step(torch.zeros(1, 1024, dtype=torch.long))
    with pytest.raises(ValueError, match="1025"):
        small.step(torch.zeros(1, 1, dtype=torch.long), cache)


def test_wrong_shapes_are_refused(decoder):
    with pytest.raises(ValueError, match=r"\(B, T\)"):
        decoder(torch.zeros(3, dtype=torch.long))
    with pytest.raises(ValueError, match="768"):
        decoder(inputs_embeds=torch.zeros(1, 3, 512))
    with pytest.raises(ValueError, match="attention_mask"):
        decoder(_ids(1, 3), torch.ones(1, 4))


def test_a_language_model_checkpoint_with_mask_buffers_loads_too(gpt2, proj, decoder):
    state = {f"transformer.{name}": value for name, value in gpt2.state_dict().items()}
    for i in range(6):
        state[f"transformer.h.{i}.attn.bias"] = torch.ones(1, 1, 4, 4)
        state[f"transformer.h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    other = TextSemanticDecoder().eval()

    other.load_gpt2(state, proj.state_dict())

    with torch.no_grad():
        assert torch.equal(other(_ids(1, 8)), decoder(_ids(1, 8)))


def test_weights_that_do_not_fit_name_every_key_and_change_nothing(gpt2, proj):
    model = TextSemanticDecoder().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = dict(gpt2.state_dict())
    del state["h.3.ln_1.weight"], state["h.5.mlp.c_proj.bias"]
    state["h.6.ln_1.weight"] = torch.zeros(768)
    state["wpe.weight"] = torch.zeros(512, 768)

    with pytest.raises(BadVoice) as caught:
        model.load_gpt2(state, {"weight": proj.weight, "bais": proj.bias})

    for name in (
        "h.3.ln_1.weight",
        "h.5.mlp.c_proj.bias",
        "h.6.ln_1.weight",
        "wpe.weight",
        "proj.bais",
        "proj.bias",
    ):
        assert name in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_with_a_frozen_trunk_a_step_changes_the_projection_alone():
    model = TextSemanticDecoder(50, 48, 2, num_heads=4, inner_size=96).freeze_trunk()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimiser = torch.optim.AdamW(model.trainable(), lr=0.1, weight_decay=0.1)

    model(torch.arange(12)[None]).square().mean().backward()
    optimiser.step()

    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"proj.weight", "proj.bias"}


def test_a_thawed_trunk_learns_again():
    model = TextSemanticDecoder(50, 48, 2, num_heads=4, inner_size=96).freeze_trunk()
    model.freeze_trunk(frozen=False)

    model(torch.arange(12)[None]).square().mean().backward()

    assert all(parameter.grad is not None for parameter in model.parameters())


def test_half_precision_and_extreme_padding_stay_finite():
    model = TextSemanticDecoder(50, 48, 2, num_heads=4, inner_size=96).to(torch.bfloat16).eval()
    mask = torch.zeros(1, 6)
    mask[0, -1] = 1

    with torch.no_grad():
        assert bool(torch.isfinite(model(torch.arange(6)[None], mask).float()).all())
