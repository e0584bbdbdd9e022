import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tokenprune.data import patterns
from tokenprune.errors import UsageError
from tokenprune.recipe import Patterns


def shown(spec: Patterns, seed: int = 0) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
    """The pattern that each token of the training images shows, decoded from pixels; labels; relevance."""
    train, _, _ = patterns.make(spec, seed)
    grid, side = spec.image_size // spec.patch_size, spec.patch_size
    tiles = train.images.view(-1, 3, grid, side, grid, side).permute(0, 2, 4, 1, 3, 5).reshape(len(train), grid**2, -1)
    overlap = (tiles.numpy().astype(np.float32) - patterns.GREY) @ patterns.orthonormal(spec, seed).T
    return overlap.argmax(axis=-1), train.labels, train.relevance(side)


def test_patterns_are_orthonormal():
    basis = patterns.orthonormal(Patterns(count=48), seed=3).astype(np.float64)
    np.testing.assert_allclose(basis @ basis.T, np.eye(48), atol=1e-6)


@settings(max_examples=40)
@given(
    classes=st.integers(2, 12),
    relevant=st.floats(0.1, 1),
    confusion=st.floats(0, 0.6),
    grid=st.sampled_from([3, 4, 8]),
    seed=st.integers(0, 5),
)
def test_the_label_wins_a_strict_majority_and_relevance_marks_its_tokens(classes, relevant, confusion, grid, seed):
    assume(relevant + confusion <= 1)
    spec = Patterns(
        classes=classes,
        count=20,
        image_size=4 * grid,
        relevant=relevant,
        confusion=confusion,
        noise=0.0,
        train_size=30,
        test_size=1,
    )
    others = -(-math.ceil(round(confusion * grid**2, 9)) // (classes - 1))
    assume(relevant * grid**2 > others + 1 + 1e-6)
    tokens, labels, relevance = shown(spec, seed)
    votes = np.stack([(tokens == label).sum(axis=1) for label in range(classes)], axis=1)
    own = votes[np.arange(30), labels]
    others = np.where(np.arange(classes) == labels.numpy()[:, None], -1, votes).max(axis=1)
    assert (own > others).all()
    assert ((tokens == labels.numpy()[:, None]) == (relevance.numpy() == 1)).all()
    assert set(relevance.unique().tolist()) <= {0.0, 1.0}


def test_shares_of_tokens_have_the_means_asked_for():
    spec = Patterns(relevant=0.31, confusion=0.17, noise=0.0, train_size=4000, test_size=1)
    tokens, labels, _ = shown(spec)
    own = (tokens == labels.numpy()[:, None]).mean(axis=1)
    other = (tokens < spec.classes).mean(axis=1) - own
    # Five standard errors: one failure in about two million draws, and the draw is fixed.
    assert abs(own.mean() - 0.31) < 5 * own.std() / np.sqrt(4000)
    assert abs(other.mean() - 0.17) < 5 * other.std() / np.sqrt(4000)
    assert own.std() > 0.02


def test_tokens_lie_anywhere():
    _, _, relevance = shown(Patterns(train_size=4000, test_size=1))
    share = relevance.mean(dim=0)
    assert (share - 0.3).abs().max() < 5 * (0.3 * 0.7 / 4000) ** 0.5


def test_noise_has_the_asked_size_in_units_of_a_pattern():
    silent, _, _ = patterns.make(Patterns(noise=0.0, train_size=200, test_size=1), 0)
    loud, _, _ = patterns.make(Patterns(noise=1.0, train_size=200, test_size=1), 0)
    signal = silent.images.float().sub(patterns.GREY).div(patterns.GREY / 4)
    both = loud.images.float().sub(patterns.GREY).div(patterns.GREY / 4 / 2**0.5)
    assert signal.var().item() == pytest.approx(1, abs=0.02)
    assert (both - signal).var().item() == pytest.approx(1, abs=0.02)  # the same patterns lie beneath
    assert ((loud.images == 0) | (loud.images == 255)).float().mean() < 2e-3


def test_a_full_image_of_relevant_and_confusion_tokens_needs_no_other_pattern():
    spec = Patterns(classes=4, count=4, relevant=0.7, confusion=0.3, noise=0.0, train_size=50, test_size=1)
    tokens, labels, _ = shown(spec)
    assert ((tokens == labels.numpy()[:, None]).mean(axis=1) >= 0.67).all()


def test_tokens_without_a_pattern_to_show_are_an_error():
    with pytest.raises(UsageError, match="count = classes = 4 leaves no further pattern"):
        patterns.make(Patterns(classes=4, count=4, relevant=0.5, confusion=0.3), 0)


def test_no_majority_is_an_error():
    with pytest.raises(UsageError, match="strict majority"):
        patterns.make(Patterns(classes=2, relevant=0.2, confusion=0.4), 0)


def test_classes_are_balanced_and_images_follow_the_seed():
    spec = Patterns(train_size=105, test_size=20)
    train, test, classes = patterns.make(spec, 1)
    assert sorted(train.labels.bincount().tolist()) == [10] * 5 + [11] * 5
    assert test.labels.bincount().tolist() == [2] * 10
    assert len(classes) == 10
    again, other = patterns.make(spec, 1), patterns.make(spec, 2)
    assert torch.equal(train.images, again[0].images)
    assert not torch.equal(train.images, other[0].images)
    assert not torch.equal(train.images[:20], test.images)
