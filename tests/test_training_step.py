"""What one step of the trainer does: its masks, its packed texts, its rates and its clipping."""

import numpy as np
import pytest
import torch

from mbexplore.training.packing import tokenize_corpora
from mbexplore.training.recipe import Recipe, build_config, rate_factor
from mbexplore.training.tokenizer import build_tokenizer, special_ids
from mbexplore.training.trainer import Budget, MaskedLoss, Trainer

LINES = [f"The number {n} is followed by the number {n + 1}." for n in range(60)]
RECIPE = Recipe(
    batch_tokens=128, length=32, long_length=32, warmup_steps=2, clip=0.01, other_rate=5e-4
)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(LINES, 400)


def build(tokenizer, out, lines=LINES, recipe=RECIPE):
    config = build_config("micro", special_ids(tokenizer), tokenizer.get_vocab_size())
    texts = tokenize_corpora(tokenizer, [([[line] for line in lines], 1.0)])
    return Trainer(config, tokenizer, texts, recipe, out, bf16=False)


def test_rates_follow_the_trapezoid_and_gradients_are_clipped(tokenizer, tmp_path):
    trainer, rates, norms = build(tokenizer, tmp_path), [], []

    def look(optimizer, args, kwargs):
        rates.append([group["lr"] for group in optimizer.param_groups])
        if optimizer is trainer.optimizers[0]:
            gradients = [parameter.grad.flatten() for parameter in trainer.model.parameters()]
            norms.append(float(torch.cat(gradients).norm()))

    for optimizer in trainer.optimizers:
        optimizer.register_step_pre_hook(look)
    trainer.run(Budget(steps=8))
    factors = [rate_factor(RECIPE, step, step / 8) for step in range(8)]
    assert 0 < factors[0] < 1 > factors[-1] > 0
    assert rates[::2] == [[RECIPE.matrix_rate * factor] for factor in factors]
    assert rates[1::2] == [[RECIPE.other_rate * factor] * 2 for factor in factors]
    assert norms == pytest.approx([RECIPE.clip] * 8, rel=1e-3)


def test_the_masks_of_a_text_are_drawn_anew_at_every_step(tokenizer, tmp_path):
    """One text alone, so that every step sees the same rows."""
    trainer, drawn = build(tokenizer, tmp_path, lines=LINES[:1]), []
    draw = trainer._draw
    trainer._draw = lambda: drawn.append(draw()) or drawn[-1]
    trainer.run(Budget(steps=3))
    whole = [batch.input_ids.copy() for batch in drawn]
    for ids, batch in zip(whole, drawn, strict=True):
        ids.ravel()[batch.positions] = batch.labels
    assert all(np.array_equal(ids, whole[0]) for ids in whole)
    for one, other in ((0, 1), (1, 2)):
        assert not np.array_equal(drawn[one].positions, drawn[other].positions)


@torch.no_grad()
def test_packed_texts_have_the_loss_they_have_alone(tokenizer, tmp_path):
    trainer = build(tokenizer, tmp_path)
    batch = trainer._draw()
    assert batch.segments.max() > 1  # several texts in a row
    loss = MaskedLoss(trainer.model.eval())
    together = loss(*trainer._tensors(batch))
    alone, row_of = 0.0, batch.positions // batch.input_ids.shape[1]
    for row, (ids, segments) in enumerate(zip(batch.input_ids, batch.segments, strict=True)):
        places = (batch.positions % len(ids))[row_of == row]
        labels = batch.labels[row_of == row]
        for number in range(1, segments.max() + 1):
            inside = np.flatnonzero(segments == number)
            asked = np.isin(places, inside)
            if asked.any():
                text = torch.tensor(ids[inside][None])
                found = torch.tensor(places[asked] - inside[0])
                alone += loss(text, torch.ones_like(text), found, torch.tensor(labels[asked]))
    assert float(together) == pytest.approx(float(alone), rel=1e-5)


def test_time_counts_over_all_parts_of_a_run(tokenizer, tmp_path):
    first = build(tokenizer, tmp_path)
    first.run(Budget(steps=2))
    first.clock.seconds = 1000.0
    first.save()
    config, texts = first.config, first.texts
    again = Trainer(config, tokenizer, texts, RECIPE, tmp_path, bf16=False, resume=True)
    again.run(Budget(steps=3))
    assert 1000.0 < again.history.read()[-1]["seconds"] < 1100.0
