from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from timm.models import VisionTransformer
from torch import Tensor

from tokenprune import cost, data, evaluation, pruners
from tokenprune.data import Dataset, ImageSet
from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.evaluation import Curve, CurvePlan, points, prune_curves, save_curve
from tokenprune.evaluation import timing as timing_module
from tokenprune.evaluation.timing import Clock
from tokenprune.models import BatchInfo, SparseViT, architecture_of
from tokenprune.pruners import ScorePruner, Signals, TokenState, register
from tokenprune.pruners.base import Pruner, select
from tokenprune.recipe import Schedule
from tokenprune.runs import PrunePoint, read_record
from tokenprune.runs.records import PruneResult
from tokenprune.statistics import mcnemar, paired_interval, wilson

CPU = torch.device("cpu")
COUNT, PATCHES, CLASSES = 37, 16, 3
KEEP = (1.0, 0.7, 0.5, 0.1)
METHODS = (("magnitude", {}), ("random", {}), ("oracle", {}))
SITES = ("before:0", "before:1", "after:1", "before:0,2", "after:0,1", "input")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    generator = torch.Generator().manual_seed(0)

    def images(n: int) -> ImageSet:
        pixels = torch.randint(0, 256, (n, 3, 16, 16), generator=generator, dtype=torch.uint8)
        mask = torch.zeros(n, 16, 16, dtype=torch.uint8)
        for i, (y, x) in enumerate(torch.randint(0, 7, (n, 2), generator=generator).tolist()):
            mask[i, y : y + 9, x : x + 9] = 1  # not aligned with patches: relevance between 0 and 1
        return ImageSet(pixels, torch.arange(n) % CLASSES, mask)

    return Dataset(images(6), images(COUNT), tuple("abc"), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


@pytest.fixture
def vit() -> VisionTransformer:
    torch.manual_seed(0)
    model = VisionTransformer(img_size=16, patch_size=4, num_classes=CLASSES, embed_dim=16, depth=3, num_heads=2)
    with torch.no_grad():  # far from the symmetric start, so that attention, and with it pruning, matters
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    return model.eval()


pytestmark = pytest.mark.usefixtures("own_pruners")


def plan(**changes: Any) -> CurvePlan:
    return replace(CurvePlan(METHODS, KEEP, Schedule.parse("before:0"), seeds=2, batch_size=8, examples=4), **changes)


def measure(vit: VisionTransformer, dataset: Dataset, what: CurvePlan, **options: Any) -> list[Curve]:
    return prune_curves(vit, dataset, what, **{"run": "r", "seed": 5, "device": CPU, **options})


def separately(
    vit: VisionTransformer, dataset: Dataset, what: CurvePlan, method: str, keep: float, seed: int
) -> tuple[np.ndarray, list[TokenState]]:
    """The slow, obvious way: the pruned model alone, all images in one batch."""
    model = SparseViT(vit, pruners.create(method), what.schedule)
    (batch,) = data.test_batches(dataset, COUNT, 4)
    info = BatchInfo(relevance=batch.relevance, labels=batch.labels, index=batch.index, seed=seed)
    with torch.inference_mode():
        trace = model.run(batch.images, keep, info)
    return trace.logits.argmax(1).numpy(), list(trace.states)


@pytest.mark.parametrize("site", SITES)
def test_every_point_equals_the_pruned_model_run_alone(vit: VisionTransformer, dataset: Dataset, site: str) -> None:
    what = plan(schedule=Schedule.parse(site))
    relevance = dataset.test.relevance(4)
    assert relevance is not None
    for (method, _), curve in zip(METHODS, measure(vit, dataset, what), strict=True):
        draws = [0, 1] if method == "random" else [None]
        assert [(p.keep_ratio, p.seed) for p in curve.result.points] == [
            (1.0, None),
            *((keep, draw) for keep in KEEP[1:] for draw in draws),
        ]
        for row, point in zip(curve.predictions["predictions"], curve.result.points, strict=True):
            seed = evaluation.curves.draw_seed(5, point.seed or 0)
            answers, states = separately(vit, dataset, what, method, point.keep_ratio, seed)
            assert row.tolist() == answers.tolist()
            kept = [set(position.tolist()) for position in states[-1].position]
            areas = [sum(relevance[i, t].item() for t in patches) for i, patches in enumerate(kept)]
            assert point.realised == pytest.approx([state.count / PATCHES for state in states])
            assert point.kept_relevance == pytest.approx(sum(areas) / sum(map(len, kept)))
            assert point.relevant_recall == pytest.approx(sum(areas) / relevance.sum().item())


def test_records_are_the_statistics_of_the_predictions(vit: VisionTransformer, dataset: Dataset) -> None:
    what = plan(schedule=Schedule.parse("before:1"))
    for curve in measure(vit, dataset, what):
        labels, baseline = curve.predictions["labels"], curve.predictions["baseline"]
        assert curve.result.count == COUNT
        assert curve.result.baseline_correct == (labels == baseline).sum()
        for row, point in zip(curve.predictions["predictions"], curve.result.points, strict=True):
            pairs = list(zip(baseline == labels, row == labels, strict=True))
            assert (point.lost, point.gained) == (pairs.count((True, False)), pairs.count((False, True)))
            assert point.correct == (row == labels).sum()
            assert point.accuracy == point.correct / COUNT
            assert point.difference == pytest.approx(point.accuracy - curve.result.baseline_accuracy)
            assert (point.low, point.high) == wilson(point.correct, COUNT)
            assert (point.difference_low, point.difference_high) == paired_interval(point.lost, point.gained, COUNT)
            assert point.mcnemar_p == mcnemar(point.lost, point.gained)
    assert any(p.lost and p.gained for p in curve.result.points)  # the comparison above was not of nothing


def test_ratio_one_is_the_bare_timm_model(vit: VisionTransformer, dataset: Dataset) -> None:
    (batch,) = data.test_batches(dataset, COUNT, 4)
    with torch.inference_mode():
        expected = vit(batch.images).argmax(1).tolist()
    for site in SITES:
        for curve in measure(vit, dataset, plan(schedule=Schedule.parse(site), keep=(1.0, 0.99))):
            assert curve.predictions["baseline"].tolist() == expected
            for row, point in zip(curve.predictions["predictions"], curve.result.points, strict=True):
                assert row.tolist() == expected  # ceil(.99 x 16) keeps all 16 as well
                assert (point.difference, point.mcnemar_p, point.ideal_speedup) == (0, 1, 1)
                assert (point.relevant_recall, point.realised_mean) == (1, 1)


def test_batch_size_changes_no_prediction(vit: VisionTransformer, dataset: Dataset) -> None:
    whole, parts = (measure(vit, dataset, plan(batch_size=size)) for size in (COUNT, 5))
    for one, other in zip(whole, parts, strict=True):
        assert one.predictions["predictions"].tolist() == other.predictions["predictions"].tolist()


def test_blocks_before_the_site_run_once_for_all(vit: VisionTransformer, dataset: Dataset) -> None:
    calls = [0, 0, 0]

    def count(block: int) -> Any:
        def hook(*_: object) -> None:
            calls[block] += 1

        return hook

    for i, block in enumerate(vit.blocks):
        block.register_forward_hook(count(i))
    measure(vit, dataset, plan(schedule=Schedule.parse("before:2"), batch_size=10))
    batches, points_in_all = 4, 1 + (1 + 2 + 1) * 3  # unpruned; magnitude, two random draws, oracle at three ratios
    assert calls == [batches, batches, batches * points_in_all]


def test_a_ranking_is_made_once_for_all_ratios(vit: VisionTransformer, dataset: Dataset) -> None:
    asked = []

    @register("counting")
    class Counting(ScorePruner):
        def score(self, state: TokenState, signals: Signals) -> Tensor:
            asked.append(state.count)
            return signals.attention()

    what = plan(methods=(("counting", {}),), batch_size=10)
    (curve,) = measure(vit, dataset, what)
    assert asked == [PATCHES] * 4
    expected = cost.flops(architecture_of(vit), what.schedule, 0.5, ("class_attention",))
    point = curve.result.points[2]
    assert (point.keep_ratio, point.flops, point.realised_mean) == (0.5, expected.flops, expected.realised_mean)
    assert point.ideal_speedup == pytest.approx(cost.flops(architecture_of(vit)).flops / expected.flops)


def test_only_unpruned_ratios_ask_no_pruner(vit: VisionTransformer, dataset: Dataset) -> None:
    @register("refusing")
    class Refusing(ScorePruner):
        def score(self, state: TokenState, signals: Signals) -> Tensor:
            raise AssertionError("asked")

    (curve,) = measure(vit, dataset, plan(methods=(("refusing", {}),), keep=(1.0,)))
    assert len(curve.result.points) == 1


def test_draws_are_reproducible_and_all_different(vit: VisionTransformer, dataset: Dataset) -> None:
    what = plan(methods=(("random", {}),), keep=(0.3,), seeds=3, examples=6)
    again = [measure(vit, dataset, what, seed=seed)[0] for seed in (0, 0, 1)]
    first, second, other = (curve.examples["owner"] >= 0 for curve in again if curve.examples is not None)
    assert (first == second).all()
    masks = {mask.tobytes() for kept in (first, other) for mask in kept}
    assert len(masks) == 6  # three draws under each of two run seeds


def test_a_pruner_that_does_not_only_rank_reduces_at_every_ratio(vit: VisionTransformer, dataset: Dataset) -> None:
    @register("first")
    class First(Pruner):
        def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
            return state.take(torch.arange(keep).expand(len(state.tokens), keep))

    @register("fusing")
    class Fusing(ScorePruner):
        """Keeps the best, and what it drops as one fused token, which is nobody's patch."""

        def score(self, state: TokenState, signals: Signals) -> Tensor:
            return signals.attention()

        def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
            kept = select(state, self.score(state, signals), keep)
            return replace(kept, owner=kept.owner.where(kept.owner != keep - 1, -1))

    first, fusing = measure(vit, dataset, plan(methods=(("first", {}), ("fusing", {})), keep=(0.5,)))
    assert first.examples is not None
    assert first.examples["owner"].tolist() == [[[[*range(8)] + [-1] * 8]] * 4]
    assert fusing.examples is not None
    assert (fusing.examples["owner"] >= 0).sum(axis=3).tolist() == [[[7]] * 4]


def test_cost_is_of_the_tokens_that_each_image_had(vit: VisionTransformer, dataset: Dataset) -> None:
    """An image with padding costs what it costs alone: odd ones keep half of what even ones do."""

    @register("adaptive")
    class Adaptive(Pruner):
        def reduce(self, state: TokenState, keep: int, signals: Signals) -> TokenState:
            some = state.take(torch.arange(keep).expand(len(state.tokens), keep))
            odd = signals.uniform().new_tensor([i % 2 for i in range(len(state.tokens))])
            half = torch.ones(len(odd), keep, dtype=odd.dtype)
            half[odd == 1, keep // 2 :] = 0
            return replace(some, weight=half)

    what = plan(methods=(("adaptive", {}),), keep=(0.5,), batch_size=COUNT, schedule=Schedule.parse("after:1"))
    (curve,) = measure(vit, dataset, what)
    (point,) = curve.result.points
    architecture, odd, even = architecture_of(vit), COUNT // 2, COUNT - COUNT // 2
    whole, part = (cost.flops(architecture, what.schedule, keep) for keep in (0.5, 0.25))
    assert point.flops == pytest.approx((even * whole.flops + odd * part.flops) / COUNT, rel=1e-12)
    assert point.realised == pytest.approx([(even * 8 + odd * 4) / (COUNT * PATCHES)])
    assert point.realised_mean == pytest.approx((even * whole.realised_mean + odd * part.realised_mean) / COUNT)


def test_without_relevance_it_is_null_and_the_oracle_takes_the_gradient(
    vit: VisionTransformer, dataset: Dataset
) -> None:
    blind = replace(dataset, test=replace(dataset.test, mask=None))
    what = plan(methods=(("oracle", {}),), keep=(0.5,))
    (curve,) = measure(vit, blind, what)
    answers, _ = separately(vit, blind, what, "oracle", 0.5, 0)
    assert curve.predictions["predictions"].tolist() == [answers.tolist()]
    assert (curve.result.points[0].kept_relevance, curve.result.points[0].relevant_recall) == (None, None)


def test_examples_are_varied_and_show_what_is_kept(vit: VisionTransformer, dataset: Dataset) -> None:
    what = plan(methods=(("oracle", {}),), keep=(0.4,), examples=5)
    (curve,) = measure(vit, dataset, what)
    examples = curve.examples
    assert examples is not None
    assert examples["index"].tolist() == [0, 1, 2, 3, 4]
    assert (examples["images"] == dataset.test.images[:5].permute(0, 2, 3, 1).numpy()).all()
    _, states = separately(vit, dataset, what, "oracle", 0.4, evaluation.curves.draw_seed(5, 0))
    kept = [[t in position for t in range(PATCHES)] for position in states[-1].position[:5].tolist()]
    assert (examples["owner"][:, :, -1] >= 0).tolist() == [kept]
    assert examples["predictions"].tolist() == curve.predictions["predictions"][:, :5].tolist()
    assert measure(vit, dataset, replace(what, examples=0))[0].examples is None


def test_varied_takes_every_class_in_turn() -> None:
    labels = np.array([0, 0, 0, 1, 0, 1, 2])
    assert points.varied(labels, 3).tolist() == [0, 3, 6]
    assert points.varied(labels, 5).tolist() == [0, 1, 3, 5, 6]
    assert points.varied(labels, 99).tolist() == list(range(7))


def test_progress_counts_the_images(vit: VisionTransformer, dataset: Dataset) -> None:
    told: list[tuple[int, int]] = []
    measure(vit, dataset, plan(), progress=lambda *at: told.append(at))
    assert told == [(8, 37), (16, 37), (24, 37), (32, 37), (37, 37)]


def test_a_given_baseline_is_what_points_are_compared_with(vit: VisionTransformer, dataset: Dataset) -> None:
    right = dataset.test.labels.numpy()
    (curve,) = measure(vit, dataset, plan(methods=(("random", {}),), keep=(1.0,)), baseline=right)
    assert curve.result.baseline_accuracy == 1
    assert curve.result.points[0].difference == curve.result.points[0].accuracy - 1


def test_the_model_comes_back_as_it_was(vit: VisionTransformer, dataset: Dataset) -> None:
    vit.train()
    own = [block.attn.fused_attn for block in vit.blocks]
    measure(vit, dataset, plan(precision="bf16", keep=(0.5,)))
    assert vit.training
    assert [block.attn.fused_attn for block in vit.blocks] == own


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": Schedule.parse("before:3")}, "beyond the model's depth 3"),
        ({"schedule": Schedule.parse("after:0,2")}, "nothing reads patch tokens, .* use after:0"),
        ({"methods": (("magnitud", {}),)}, "did you mean 'magnitude'"),
    ],
)
def test_bad_plans_are_refused(vit: VisionTransformer, dataset: Dataset, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        measure(vit, dataset, plan(**changes))


def test_a_class_token_beside_average_pooling_leaves_the_last_site(vit: VisionTransformer, dataset: Dataset) -> None:
    vit.global_pool = "avg"  # as timm's beit3
    (curve,) = measure(vit, dataset, plan(methods=(("random", {}),), schedule=Schedule.parse("after:2")))
    assert any(point.lost + point.gained for point in curve.result.points)


def test_a_saved_curve_is_read_back(vit: VisionTransformer, dataset: Dataset, tmp_path: Path) -> None:
    (curve,) = measure(vit, dataset, plan(methods=(("random", {}),)))
    folder = tmp_path / "prune" / "random-0"
    save_curve(curve, folder)
    found = read_record(folder / "result.json", PruneResult)
    assert found.model_copy(update={"files": {}, "seal": None}) == curve.result
    for name, arrays in (("predictions", curve.predictions), ("examples", curve.examples)):
        assert arrays is not None
        with np.load(folder / f"{name}.npz", allow_pickle=False) as saved:
            assert {key: saved[key].tolist() for key in saved} == {key: a.tolist() for key, a in arrays.items()}
    assert curve.predictions["predictions"].dtype == np.uint8


def test_a_curve_that_could_not_be_saved_leaves_the_old_one_whole(
    vit: VisionTransformer, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (curve,) = measure(vit, dataset, plan(methods=(("random", {}),)))
    save_curve(curve, tmp_path)
    old = {path: path.read_bytes() for path in tmp_path.rglob("*")}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(TokenpruneError, match=r"predictions\.npz: could not be saved: No space left on device"):
        save_curve(curve, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*")} == old


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A list of times that the wall clock will show, in turn."""
    times: list[float] = []
    monkeypatch.setattr(timing_module.time, "perf_counter", lambda: times.pop(0))
    yield times
    assert times == []


def test_clock_takes_the_median_of_full_batches_after_the_first(ticking: list[float]) -> None:
    clock = Clock(CPU, batch_size=10)
    for size, shared, own in ((10, 100.0, 100.0), (10, 1.0, 1.0), (10, 2.0, 3.0), (10, 1.0, 2.0), (4, 0.1, 0.1)):
        clock.batch(size)
        for key, seconds in (("shared", shared), ("own", own)):
            ticking += [0.0, seconds]
            with clock.part(key):
                pass
    assert clock.images_per_second("shared", "own") == pytest.approx(10 / 3)  # of 2, 5, 3 seconds
    assert clock.images_per_second("own") == pytest.approx(10 / 2)


def test_clock_says_nothing_of_two_batches() -> None:
    clock = Clock(CPU, batch_size=10)
    for _ in range(3):
        clock.batch(10)
        with clock.part("all"):
            pass
    assert clock.images_per_second("all") is None


def test_speed_is_null_or_positive_in_all_points(vit: VisionTransformer, dataset: Dataset) -> None:
    def speeds(curve: Curve) -> list[tuple[float | None, float | None]]:
        return [(p.images_per_second, p.speedup) for p in curve.result.points]

    few, many = (measure(vit, dataset, plan(batch_size=size))[0] for size in (20, 5))
    assert set(speeds(few)) == {(None, None)}
    assert few.result.baseline_images_per_second is None
    unpruned: PrunePoint = many.result.points[0]
    assert unpruned.images_per_second == many.result.baseline_images_per_second
    assert unpruned.speedup == 1
    assert all(rate is not None and rate > 0 for rate, _ in speeds(many))
