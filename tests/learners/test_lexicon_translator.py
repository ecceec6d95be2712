"""The laws of a learner of sequences, in float64, on a small invented language; and that it begins as IBM model 1."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from regard.episode import Episode, Support, map_items
from regard.errors import EpisodeError
from regard.learners.lexicon_translator import LexiconTranslator, SupportLexicon
from regard.nn.attention import How
from regard.nn.beam import beam_search
from regard.nn.spelling import read_spelling, spell
from regard.nn.words import WordEncoder
from regard.nn.writing import with_end

WORDS = ["the", "cat", "dog", "sees", "eats", "big", "small", "red", "fish", "tom", "a", "and", "in", "house"]


def foreign(word: str) -> str:
    """A word of the invented language."""
    rng = np.random.default_rng(spell(word))
    return "".join(rng.choice(list("bdgklmnprst")) + rng.choice(list("aeiou")) for _ in range(2 + len(word) // 4))


def items(sentences: list[list[str]], width: int) -> dict[str, Tensor]:
    characters = torch.zeros(len(sentences), width, 16, dtype=torch.int64)
    latin = torch.zeros(len(sentences), width, dtype=torch.int64)
    for i, sentence in enumerate(sentences):
        for j, word in enumerate(sentence):
            characters[i, j, : len(word)] = torch.tensor([ord(letter) for letter in word])
            latin[i, j] = spell(word)
    return {"characters": characters, "latin": latin}


def tokens(sentences: list[list[str]], width: int) -> Tensor:
    y = torch.full((len(sentences), width), -1)
    for i, sentence in enumerate(sentences):
        y[i, : len(sentence)] = torch.tensor([spell(word) for word in sentence])
    return y


def episode_of(seed: int, n_support: int = 7, n_query: int = 3, n_tasks: int = 2) -> Episode:
    rng = np.random.default_rng(seed)
    tasks = []
    for _ in range(n_tasks):
        english = [list(rng.choice(WORDS, rng.integers(1, 6))) for _ in range(n_support + n_query)]
        source = [[foreign(word) for word in reversed(sentence)] for sentence in english]
        tasks.append((items(source, 5), tokens(english, 5)))
    x = {key: torch.stack([task[0][key] for task in tasks]) for key in ("characters", "latin")}
    y = torch.stack([task[1] for task in tasks])
    weight = torch.from_numpy(rng.random((n_tasks, n_support)) + 0.5)
    weight[:, 2] = 0
    support = Support(map_items(lambda t: t[:, :n_support], x), y[:, :n_support], weight)
    query_weight = torch.ones(n_tasks, n_query, dtype=torch.float64)
    return Episode(support, map_items(lambda t: t[:, n_support:], x), y[:, n_support:], query_weight).check()


def learner_of(how: How = "soft") -> LexiconTranslator:
    torch.manual_seed(0)
    encoder = WordEncoder(WORDS[:10], n_features=16, n_rows=128, d_row=8)
    return LexiconTranslator(encoder, n_write_layers=1, n_heads=2, n_rounds=3, how=how).double().eval()


def log_prob(learner: LexiconTranslator, episode: Episode) -> Tensor:
    with torch.no_grad():
        return learner(episode).log_prob(episode.query_y)


def rows(support: Support, index: Tensor) -> Support:
    return Support(map_items(lambda t: t[:, index], support.x), support.y[:, index], support.weight[:, index])


@pytest.mark.parametrize("how", ["soft", "sparsemax", "entmax", "hard"])
def test_a_pair_of_weight_zero_is_absent(how: How) -> None:
    learner, episode = learner_of(how), episode_of(0)
    kept = torch.tensor([0, 1, 3, 4, 5, 6])
    without = replace(episode, support=rows(episode.support, kept))
    torch.testing.assert_close(log_prob(learner, episode), log_prob(learner, without), rtol=1e-9, atol=1e-9)


def test_a_pair_of_weight_two_is_the_pair_twice() -> None:
    learner, episode = learner_of(), episode_of(1)
    weight = episode.support.weight.clone()
    weight[:, 0] *= 2
    once = replace(episode, support=replace(episode.support, weight=weight))
    twice = replace(episode, support=rows(episode.support, torch.tensor([0, 0, 1, 2, 3, 4, 5, 6])))
    torch.testing.assert_close(log_prob(learner, once), log_prob(learner, twice), rtol=1e-9, atol=1e-9)


def test_the_order_of_pairs_does_not_matter() -> None:
    learner, episode = learner_of(), episode_of(2)
    other = replace(episode, support=rows(episode.support, torch.tensor([4, 2, 6, 0, 1, 5, 3])))
    torch.testing.assert_close(log_prob(learner, episode), log_prob(learner, other), rtol=1e-9, atol=1e-9)


def test_queries_do_not_see_each_other_and_a_batch_is_a_loop() -> None:
    learner, episode = learner_of(), episode_of(3)
    whole = log_prob(learner, episode)
    for b in range(2):
        task = episode.tasks(slice(b, b + 1))
        for q in range(3):
            alone = Episode(
                task.support, map_items(lambda t, q=q: t[:, q : q + 1], task.query_x), task.query_y[:, q : q + 1]
            )
            torch.testing.assert_close(log_prob(learner, alone)[0, 0], whole[b, q], rtol=1e-9, atol=1e-9)


def test_a_state_is_its_own_and_adapting_leaves_no_trace() -> None:
    learner, episode, other = learner_of(), episode_of(3), episode_of(4)
    given = episode.map(torch.clone)
    stored = {name: tensor.clone() for name, tensor in learner.state_dict().items()}

    def answer(state: SupportLexicon) -> Tensor:
        return learner.predict(state, given.query_x).log_prob(given.query_y)

    with torch.no_grad():
        state = learner.adapt(episode.support)
        first = answer(state)
        log_prob(learner, other)
        learner.loss(other)
        for tensor in (*episode.support.x.values(), episode.support.y, episode.support.weight):
            tensor.copy_(tensor.flip(1))
        assert torch.equal(answer(state), first)
        assert torch.equal(answer(learner.adapt(given.support)), first)
    assert all(torch.equal(tensor, stored[name]) for name, tensor in learner.state_dict().items())


def test_the_slope_by_a_weight_is_that_of_finite_differences() -> None:
    learner, episode = learner_of(), episode_of(4)

    def total(weight: Tensor) -> Tensor:
        return (
            learner(replace(episode, support=replace(episode.support, weight=weight))).log_prob(episode.query_y).sum()
        )

    weight = episode.support.weight.clone().requires_grad_()
    (slope,) = torch.autograd.grad(total(weight), weight)
    for place in ((0, 0), (1, 3), (0, 2)):  # the last has weight 0, and moves up only
        step = torch.zeros_like(weight)
        step[place] = 1e-6
        low = torch.zeros_like(step) if place == (0, 2) else step
        with torch.no_grad():
            measured = (total(weight + step) - total(weight - low)) / (step + low).sum()
        torch.testing.assert_close(slope[place], measured, rtol=2e-4, atol=1e-5)


def test_a_gradient_reaches_every_parameter() -> None:
    learner, episode = learner_of(), episode_of(5)
    learner.loss(episode).sum().backward()
    silent = [n for n, p in learner.named_parameters() if p.grad is None or not bool(p.grad.isfinite().all())]
    assert not silent


def test_attention_is_a_distribution_over_pairs_with_weight() -> None:
    learner, episode = learner_of(), episode_of(6)
    with torch.no_grad():
        p = learner.attend(learner.adapt(episode.support), episode.query_x)
    torch.testing.assert_close(p.sum(-1), torch.ones_like(p.sum(-1)))
    assert bool((p[:, :, 2] == 0).all()) and bool((p >= 0).all())


def test_a_sentence_s_probabilities_are_those_of_its_words_and_add_up() -> None:
    """Over all words that can be written next, the chances sum to 1."""
    learner, episode = learner_of(), episode_of(7, n_tasks=1)
    y = episode.query_y.clamp_min(0)
    with torch.no_grad():
        sentences = learner(episode)
        h = sentences.writer(sentences.vectors(y), sentences.understood)[0]
        p = sentences.next_words(h)
        expected = sentences.word_log_prob(y)[0].exp()[0]
    torch.testing.assert_close(p.sum(-1), torch.ones_like(p.sum(-1)), rtol=1e-6, atol=1e-6)
    at = torch.searchsorted(sentences.words, with_end(y)[0])
    torch.testing.assert_close(p.gather(-1, at[..., None])[..., 0], expected, rtol=1e-6, atol=1e-8)


def test_written_step_by_step_it_is_written_at_once() -> None:
    learner, episode = learner_of(), episode_of(9, n_tasks=1)
    y = episode.query_y.clamp_min(0)
    with torch.no_grad():
        sentences = learner(episode)
        x, blocks = sentences.understood, learner.writer.state
        z = sentences.vectors(y)
        whole = learner.writer(z, x)[0]
        read, written = blocks.begin_writing(x.read[0]), [None] * len(blocks.blocks)
        for place in range(y.shape[-1] + 1):
            h, written = blocks.step(z[0, :, place - 1] if place else None, place, written, read, x.there[0])
            torch.testing.assert_close(h, whole[:, place])


def test_a_beam_of_one_takes_the_best_word_each_time() -> None:
    learner, episode = learner_of(), episode_of(10, n_tasks=1)
    with torch.no_grad():
        sentences = learner(episode)
        found = beam_search(sentences, n_beams=1, longest=6)
        for q, hypotheses in enumerate(found):
            best = hypotheses[0]
            y = torch.full((1, 3, max(1, len(best.words))), 0)
            y[0, q, : len(best.words)] = torch.tensor(best.words)
            h = learner.writer(sentences.vectors(y), sentences.understood)[0]
            greedy = sentences.words[sentences.next_words(h)[q].argmax(-1)].tolist()
            assert greedy[: len(best.words)] == list(best.words)


def test_more_beams_find_no_worse_sentence() -> None:
    learner, episode = learner_of(), episode_of(11, n_tasks=1)
    with torch.no_grad():
        sentences = learner(episode)
        one, many = (beam_search(sentences, n, longest=6, length_power=0.0) for n in (1, 8))
    for a, b in zip(one, many, strict=True):
        assert b[0].log_p >= a[0].log_p - 1e-9


def test_untrained_it_reads_the_lexicon_as_ibm_model_1_would() -> None:
    """Words that the pairs determine have their translation as the best gloss, before any training."""
    learner, episode = learner_of(), episode_of(8, n_support=60, n_query=8, n_tasks=1)
    with torch.no_grad():
        understood = learner(episode).understood
    right = total = 0
    for q in range(8):
        english = [read_spelling(int(n)) for n in episode.query_y[0, q] if n >= 0][::-1]
        for k, word in enumerate(english):
            best = int(understood.number[0, understood.gloss[0, q, k].argmax()])
            right, total = right + (read_spelling(best) == word), total + 1
    assert right / total > 0.8, f"{right} of {total}"


def test_classes_are_refused() -> None:
    episode = episode_of(0)
    with pytest.raises(EpisodeError, match="LexiconTranslator translates"):
        learner_of().adapt(Support(episode.support.x, torch.zeros(2, 7, dtype=torch.int64)))
