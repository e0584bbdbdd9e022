"""The data model: what the paper assumes, recomputed from the tokens alone."""

import numpy as np
import pytest

from tokenprune.theory.jobs import Removed
from tokenprune.theory.shallow import Tokens
from tokenprune.theory.tokens import CONFUSION, IRRELEVANT, RELEVANT, draw, remove


def _draw(samples: int = 2000, **spec: object):
    return draw(Tokens(**spec), samples, np.random.default_rng(0))


def _patterns(tokens: np.ndarray, count: int) -> np.ndarray:
    """The nearest of the first `count` axes, by brute force."""
    axes = np.eye(tokens.shape[1])[:count]
    return np.linalg.norm(tokens[:, None] - axes[None, :, :, None], axis=2).argmin(1)


def test_the_label_is_the_majority_vote_of_the_discriminative_patterns() -> None:
    samples = _draw(relevant=0.3, confusion=0.2, noise=0.3)
    shown = _patterns(samples.tokens, 5)
    votes = (shown == 1).sum(1) - (shown == 0).sum(1)
    assert (np.sign(votes) == samples.labels).all()
    label = (samples.labels > 0).astype(int)[:, None]
    assert ((shown == label) == (samples.kind == RELEVANT)).all()
    assert ((shown == 1 - label) == (samples.kind == CONFUSION)).all()
    assert ((shown >= 2) == (samples.kind == IRRELEVANT)).all()
    assert set(shown[shown >= 2]) == {2, 3, 4}


@pytest.mark.parametrize("x", [4, 5, 13, 14])
def test_shares_of_tokens_have_the_means_asked_for_finely_enough_to_tell_columns_apart(x: int) -> None:
    samples = _draw(20_000, relevant=x**-0.5, confusion=0.05)
    share = (samples.kind == RELEVANT).mean()
    assert share == pytest.approx(x**-0.5, abs=0.002)  # 14 and 13 differ by 0.01
    assert (samples.kind == CONFUSION).mean() == pytest.approx(0.05, abs=1e-9)


def test_noise_is_uniform_in_the_ball_of_radius_tau() -> None:
    samples = _draw(20_000, noise=0.4)
    shown = _patterns(samples.tokens, 5)
    distance = np.linalg.norm(samples.tokens - np.eye(10, dtype=np.float32)[shown].transpose(0, 2, 1), axis=1)
    assert distance.max() <= 0.4 + 1e-6
    np.testing.assert_allclose(distance, samples.noise, atol=1e-6)
    # Closed form: P(r < s tau) = s^d, so E r^2 = tau^2 d / (d + 2).
    assert (distance**2).mean() == pytest.approx(0.16 * 10 / 12, rel=0.005)
    assert (distance < 0.9 * 0.4).mean() == pytest.approx(0.9**10, abs=0.003)


def test_noisy_tokens_have_the_share_and_the_radius_asked_for() -> None:
    samples = _draw(noise=0.1, noisy_share=0.25, noisy=2.0)
    assert (samples.noise > 0.1 + 1e-6).mean() == pytest.approx(0.25, abs=0.01)
    assert samples.noise.max() == pytest.approx(2.0, abs=0.01)


def test_irrelevant_tokens_go_first_then_confusion_then_relevant() -> None:
    samples = _draw(200, count=20, relevant=0.4, confusion=0.1)  # 8 relevant, 2 confusion, 10 irrelevant
    rng = np.random.default_rng(1)
    for count, left in ((10, {RELEVANT: 8, CONFUSION: 2}), (11, {RELEVANT: 8, CONFUSION: 1}), (15, {RELEVANT: 5})):
        kept = remove(samples, Removed("irrelevant", count), rng)
        for kind in (RELEVANT, CONFUSION, IRRELEVANT):
            assert ((kept.kind == kind).sum(1) == left.get(kind, 0)).all()


def test_the_noisiest_tokens_go_and_the_rest_keep_place_and_order() -> None:
    samples = _draw(50, noisy_share=0.5)
    kept = remove(samples, Removed("noisy", 6), np.random.default_rng(1))
    for row in range(50):
        stay = np.sort(np.argsort(samples.noise[row])[:14])
        assert kept.position[row].tolist() == stay.tolist()
        np.testing.assert_array_equal(kept.tokens[row], samples.tokens[row][:, stay])


def test_random_removal_keeps_every_token_equally_often() -> None:
    kept = remove(_draw(4000), Removed("random", 5), np.random.default_rng(1))
    often = np.bincount(kept.position.ravel(), minlength=20) / 4000
    assert np.abs(often - 0.75).max() < 0.03
