"""Codes of tokens, and words that read as unknown."""

from __future__ import annotations

import torch

from regard.nn.sequence import RandomTokenEmbedding, TokenLSTM


def items(ids: torch.Tensor) -> dict[str, torch.Tensor]:
    mask = ids.reshape(*ids.shape[:2], -1)[..., 0] > 0
    return {"ids": ids, "mask": mask, "rarity": 3.0 * mask}


def test_codes_are_unit_vectors_of_what_a_token_is_made_of() -> None:
    code = RandomTokenEmbedding(100, 64)
    ids = torch.tensor([[[5, 50, 51], [1, 50, 51], [1, 60, 61], [0, 0, 0]]])
    z = code(ids)[0]
    torch.testing.assert_close(z.norm(dim=-1), torch.tensor([1.0, 1.0, 1.0, 0.0]))
    shared, apart = z[0] @ z[1], z[1] @ z[2]
    assert shared > 0.5 > apart.abs()  # the n-grams of a word, and an unknown word of other n-grams
    assert not list(code.parameters()) and "table" in code.state_dict()


def test_a_parts_weight_is_its_rarity_and_padding_has_none() -> None:
    encoder = TokenLSTM(30, 4, 3, d_hash=8, parts=True)
    x = items(torch.tensor([[4, 5, 6], [7, 0, 0]]))
    z = encoder(x)
    assert z.shape == (2, 3, encoder.n_features) and encoder.n_fixed_features == 8
    torch.testing.assert_close(encoder.part_weight(z), x["rarity"] ** 1.5)
    assert not z[1, 1:].any()
    # The name is the same wherever a word stands; what the LSTM says of it is not.
    twice = encoder(items(torch.tensor([[4, 5, 4]])))[0]
    torch.testing.assert_close(twice[0, :8], twice[2, :8])
    assert not torch.allclose(twice[0, 8:], twice[2, 8:])


def test_unknown_words_read_alike_and_keep_their_names() -> None:
    torch.manual_seed(0)
    encoder = TokenLSTM(1000, 4, 3, vocabulary_size=10, d_hash=8, parts=True)
    assert encoder.embed.table.num_embeddings == 10
    ids = torch.tensor([[[4, 500], [9, 501]], [[4, 600], [10, 502]], [[4, 700], [999, 503]]])
    z = encoder(items(ids))
    torch.testing.assert_close(z[1, :, 8:], z[2, :, 8:])
    assert not torch.allclose(z[0, :, 8:], z[1, :, 8:])
    assert not torch.allclose(z[1, 1, :8], z[2, 1, :8])
