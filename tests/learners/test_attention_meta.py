"""The attention meta-learner against its formula, pair by pair."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from regard.episode import Support
from regard.learners.attention_meta import AttentionMetaLearner
from regard.nn.sequence import TokenLSTM


def read(learner: AttentionMetaLearner, x: Tensor, z: Tensor, n_fixed_features: int) -> Tensor:
    """Match and verdict where x asks z, real parts only."""
    name_x, name_z, mean_x, mean_z = (
        x[:, :n_fixed_features],
        z[:, :n_fixed_features],
        x[:, n_fixed_features:],
        z[:, n_fixed_features:],
    )
    share = name_x.norm(dim=-1) * learner.pool.score(mean_x)[:, 0].exp()  # type: ignore[misc]
    share = share / share.sum()
    like, pair = torch.tensor(0.0), torch.zeros(4, learner.value.out_features)
    for p in range(len(x)):
        cosine = cosine_similarity(name_x[p : p + 1], name_z)
        a = name_z.norm(dim=-1) * (cosine / learner.log_temperature.exp()).exp()
        a = a / a.sum()
        value, found = learner.value(mean_x[p]), a @ learner.value(mean_z)
        like = like + share[p] * (a @ cosine)
        pair = pair + share[p] * torch.stack([value, found, (value - found).abs(), value * found])
    return torch.stack([like, learner.dense(pair.flatten())[0]])


def test_it_is_its_formula() -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(0)
        learner = AttentionMetaLearner(TokenLSTM(12, 5, 4, d_hash=6, parts=True), d_pair=3)
        for weight in (*learner.pool.parameters(), *learner.dense[-1].parameters()):
            torch.nn.init.normal_(weight)
        lengths = torch.tensor([2, 4, 3, 1, 4])
        mask = torch.arange(4) < lengths[:, None]
        items = {"ids": torch.randint(1, 12, (5, 4)) * mask, "mask": mask, "rarity": (1 + torch.rand(5, 4)) * mask}
        items["ids"][items["ids"] == 1] = 2  # an unknown word without n-grams has no name
        part = [{key: t[None, s] for key, t in items.items()} for s in (slice(0, 3), slice(3, 5))]
        support = Support(part[0], torch.tensor([[0, 1, 1]]), torch.tensor([[1.0, 2.0, 0.5]]))
        rows, asked = real(learner.encode(items), lengths)[:3], real(learner.encode(items), lengths)[3:]

        def judged(asking: list[Tensor], asked: list[Tensor]) -> tuple[Tensor, Tensor]:
            both = [torch.stack([read(learner, a, b, 6) + read(learner, b, a, 6) for b in asked]) / 2 for a in asking]
            return torch.stack(both).unbind(-1)  # type: ignore[return-value]

        # The second class has two rows, of weight 2 and 0.5.
        share, scale = torch.tensor([0.8, 0.2]), learner.log_scale.exp()
        match, verdict = judged(asked, rows)
        unity = (share[:, None] * share * judged(rows[1:], rows[1:])[0]).sum().clamp_min(0.05)
        alone = match[:, 0] / judged(rows[:1], rows[:1])[0][0].sqrt() + verdict[:, 0]
        expected = scale * torch.stack([alone, match[:, 1:] @ share / unity.sqrt() + verdict[:, 1:] @ share], -1)
        state = learner.adapt(support)
        torch.testing.assert_close(learner.predict(state, part[1])[0], expected)
        within = (scale * (match + verdict)[:, 1:]).exp() * support.weight[0, 1:]
        shared = expected.softmax(-1)[:, 1:] * within / within.sum(-1, keepdim=True)
        torch.testing.assert_close(learner.attend(state, part[1])[0, :, 1:], shared)
    finally:
        torch.set_default_dtype(before)


def real(z: Tensor, lengths: Tensor) -> list[Tensor]:
    return [row[:n] for row, n in zip(z, lengths, strict=False)]


def test_a_class_is_what_its_rows_share() -> None:
    """Untrained, on names alone, it is the cosine to a centroid: rows that say the same count as one of them."""
    torch.manual_seed(0)
    learner = AttentionMetaLearner(TokenLSTM(12, 5, 4, d_hash=6, parts=True), d_pair=3).eval()
    ids = torch.tensor([[[2, 3], [2, 3], [4, 5]]])
    items = {"ids": ids, "mask": torch.ones(1, 3, 2), "rarity": torch.ones(1, 3, 2)}
    same = Support(items, torch.tensor([[0, 0, 1]]), torch.ones(1, 3))
    once = Support(items, torch.tensor([[0, 0, 1]]), torch.tensor([[1.0, 0.0, 1.0]]))
    query = {"ids": torch.tensor([[[2, 5]]]), "mask": torch.ones(1, 1, 2), "rarity": torch.ones(1, 1, 2)}
    torch.testing.assert_close(learner.predict(learner.adapt(same), query), learner.predict(learner.adapt(once), query))
