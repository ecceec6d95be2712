"""A cipher hides words and nothing else."""

from __future__ import annotations

from regard.domains.translation.cipher import Cipher

TEXTS = ["Der Hund schläft.", "Где кошка, 42?"]


def test_equal_words_stay_equal_and_letters_change() -> None:
    cipher = Cipher.of(TEXTS, seed=1)
    changed = [cipher(text) for text in TEXTS]
    assert [len(text) for text in changed] == [len(text) for text in TEXTS]
    assert changed[1].endswith(", 42?") and changed[0] != TEXTS[0].lower()
    assert cipher("Hund hund") == " ".join([changed[0].split()[1]] * 2)
    back = {value: key for key, value in cipher.table.items()}
    assert len(back) == len(cipher.table) and changed[0].translate(back) == TEXTS[0].lower()


def test_the_seed_decides() -> None:
    first, second = (Cipher.of(TEXTS, seed=s)(TEXTS[0]) for s in (1, 2))
    assert first != second == Cipher.of(TEXTS, seed=2)(TEXTS[0])
