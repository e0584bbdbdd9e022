"""Models trained together are the models trained alone."""

import numpy as np
import pytest
import torch

from tokenprune.theory import population
from tokenprune.theory.jobs import BLOCK, ModelJob, Removed, neurons, parameters
from tokenprune.theory.population import descend, score, start
from tokenprune.theory.shallow import Descent, Shallow, Tokens

CPU = torch.device("cpu")


def _job(
    trial: int = 0, samples: int = 40, kind: str = "vit", removed: Removed | None = None, **data: object
) -> ModelJob:
    return ModelJob(Tokens(**data), Shallow(kind=kind), samples, 50, (7, trial), removed)


def _trained(jobs: list[ModelJob], **spec: object) -> torch.Tensor:
    network = start(jobs, CPU)
    for _ in descend(network, jobs, Descent(**spec), CPU):
        pass
    return score(network, population.test_bags(jobs, CPU))


@pytest.mark.parametrize("removed", [None, Removed("irrelevant", 5), Removed("magnitude", 5)])
def test_company_changes_nothing(removed: Removed | None) -> None:
    jobs = [_job(trial, removed=removed) for trial in range(4)]
    together = _trained(jobs)
    alone = torch.cat([_trained([job]) for job in jobs])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert together[:, 0].std() > 1e-3  # the models differ, so that a mix-up would show


def test_the_start_is_as_far_from_the_patterns_as_asked() -> None:
    job = ModelJob(Tokens(), Shallow(sigma=0.3, delta=0.6, scale=0.02), 40, 50, (0,))
    network = start([job], CPU)
    axes = torch.eye(10)
    for weight, distance in ((network.value, 0.3), (network.key, 0.6), (network.query, 0.6)):
        torch.testing.assert_close((weight[0] - axes).norm(dim=0), torch.full((10,), distance))
    assert network.output.std().item() == pytest.approx(0.02, rel=0.1)
    assert network.signs.unique().tolist() == pytest.approx([-0.1, 0.1])


def test_the_cnn_has_as_many_parameters_as_the_vit() -> None:
    vit, cnn = Shallow(kind="vit"), Shallow(kind="cnn")
    trained = start([_job()], CPU)
    count = sum(getattr(trained, name)[0].numel() for name in ("output", "value", "key", "query"))
    assert count == parameters(vit, Tokens()) == 100 * 10 + 10 * 10 + 2 * 10 * 10
    assert start([_job(kind="cnn")], CPU).weight[0].numel() == 10 * neurons(cnn, Tokens()) == count


def test_one_pass_uses_every_sample_once_and_blocks_do_not_show() -> None:
    long = _job(samples=BLOCK + 80)
    steps = list(descend(start([long], CPU), [long], Descent(), CPU))
    assert steps == list(range((BLOCK + 80) // 4 + 1))
    assert list(descend(start([long], CPU), [long], Descent(batch_size=7), CPU))[-1] == (BLOCK + 80) // 7


def test_many_passes_go_over_the_same_samples_in_new_orders() -> None:
    job, seen = _job(samples=12), []
    network = start([job], CPU)

    def record(x: torch.Tensor, y: torch.Tensor, rate: float, position: object) -> torch.Tensor:
        seen.extend(x[0].flatten(1).sum(1).tolist())
        return y

    network.step = record  # type: ignore[method-assign]
    assert list(descend(network, [job], Descent(epochs=3), CPU))[-1] == 9
    epochs = np.array(seen).reshape(3, 12)
    assert (np.sort(epochs) == np.sort(epochs[0])).all()
    assert (epochs[1] != epochs[2]).any()


def test_a_diverging_model_is_nan_in_loss_and_error_alike() -> None:
    scores = _trained([_job(0), _job(1)], step_size=1e30)
    assert scores.isnan().all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("removed", [None, Removed("magnitude", 5)])
def test_a_gpu_trains_the_same_models(removed: Removed | None) -> None:
    jobs = [_job(trial, removed=removed) for trial in range(4)]
    gpu = torch.device("cuda")
    network = start(jobs, gpu)
    for _ in descend(network, jobs, Descent(), gpu):
        pass
    scores = score(network, population.test_bags(jobs, gpu)).cpu()
    torch.testing.assert_close(scores, _trained(jobs), atol=1e-3, rtol=1e-3)


def test_shared_signs_make_the_place_of_a_token_irrelevant() -> None:
    """F of a bag whose tokens change places is the same; with signs of their own it is not."""
    tokens = torch.randn(1, 6, 10, 20)
    shuffled = tokens[..., torch.randperm(20)]
    for kind in ("vit", "cnn"):
        for signs in ("own", "shared"):
            model = Shallow(kind=kind, signs=signs)
            network = start([ModelJob(Tokens(), model, 40, 50, (3,))], CPU)
            both = [network.margins(bag, None) for bag in (tokens, shuffled)]
            assert torch.allclose(*both, atol=1e-6) == (signs == "shared")
