"""`evaluate` and `select` against the plain loops that they stand for."""

import math

import numpy as np
import pytest
import reference_ranking as reference
import torch
from model_zoo import CLASSES, images, make

import tokenprune
from tokenprune.errors import TokenpruneError, UsageError

SIZES = (16, 16, 16, 7)
LOADER = [(images(size, seed), torch.randint(CLASSES, (size,))) for seed, size in enumerate(SIZES)]


def test_a_row_is_what_a_loop_over_the_loader_gives() -> None:
    vit = make("plain").eval()
    table = tokenprune.evaluate(vit, LOADER, ["tome", "magnitude"], (1.0, 0.5, (0.75, 0.5)), sites="before:1,2")
    ratios = (1.0, "0.75/0.5", 0.5)  # by what is left
    assert [(row.method, row.keep) for row in table] == [(m, keep) for m in ("tome", "magnitude") for keep in ratios]
    total = sum(SIZES)
    with torch.no_grad():
        bare = torch.cat([vit(batch).argmax(1) for batch, _ in LOADER])
        labels = torch.cat([each for _, each in LOADER])
        for row in table:
            keep = row.keep if isinstance(row.keep, float) else (0.75, 0.5)
            model = tokenprune.sparsify(vit, row.method, keep, sites="before:1,2")
            answers = torch.cat([model.eval()(batch).argmax(1) for batch, _ in LOADER])
            assert row.accuracy == (answers == labels).sum().item() / total
            assert row.agreement == (answers == bare).sum().item() / total
            assert row.low < row.accuracy < row.high or row.accuracy in (0, 1)
    whole, half = table[0], next(row for row in table if row.keep == 0.5)
    assert (whole.tokens, whole.agreement, half.tokens) == (1.0, 1.0, (16 + 8 + 4) / 48)
    assert half.gflops < whole.gflops
    lines = str(table).splitlines()
    assert len(lines) == 7
    assert len(set(map(len, lines))) == 1
    assert lines[1].split()[:3] == ["tome", "1.0", f"{100 * whole.accuracy:.1f}"]


def test_a_trained_pruner_is_measured_with_what_it_learned_and_no_other() -> None:
    model = tokenprune.sparsify(make("plain"), "dynamicvit", 0.5, sites="before:1")
    with torch.no_grad():
        for parameter in model.pruner.parameters():
            parameter.add_(torch.randn_like(parameter))
    (row,) = tokenprune.evaluate(model, LOADER, "dynamicvit", [0.5], sites="before:1")
    answers = torch.cat([model.eval()(batch).argmax(1) for batch, _ in LOADER])
    assert row.accuracy == (answers == torch.cat([each for _, each in LOADER])).sum().item() / sum(SIZES)
    with pytest.raises(UsageError, match="'cropr' has parameters to learn"):
        tokenprune.evaluate(model, LOADER, ["cropr"], [0.5])


def test_a_sparsified_model_is_measured_with_its_own_options_and_sites() -> None:
    model = tokenprune.sparsify(make("plain"), "vispruner", 0.3, sites="before:1", important=0.02).eval()
    (row,) = tokenprune.evaluate(model, LOADER, "vispruner", [0.3])
    answers = torch.cat([model(batch).argmax(1) for batch, _ in LOADER])
    assert row.accuracy == (answers == torch.cat([each for _, each in LOADER])).sum().item() / sum(SIZES)


@pytest.mark.parametrize(
    "labels", [torch.zeros(16, 1, dtype=torch.long), torch.full((16,), CLASSES), torch.full((16,), -1), torch.zeros(16)]
)
def test_labels_that_are_no_classes_are_refused(labels: torch.Tensor) -> None:
    with pytest.raises(UsageError, match="labels are whole numbers from 0 to 4, one for each image"):
        tokenprune.evaluate(make("plain"), [(LOADER[0][0], labels)], ["tome"], [0.5], sites="before:1")


def test_labels_of_any_kind_and_batches_without_images_are_taken() -> None:
    images, labels = LOADER[0]
    plain = tokenprune.evaluate(make("plain"), [(images, labels)], ["norm"], [0.5], sites="before:1")
    others = [(images[:0], labels[:0]), (images, labels.numpy()), (images[:0], [])]
    assert len(tokenprune.evaluate(make("plain"), others, ["norm"], [0.5], sites="before:1")) == len(plain)
    for wrong in ({"draws": 0}, {"keep": []}, {"precision": "fp16"}, {"methods": []}):
        with pytest.raises(UsageError, match="a method, a ratio and a draw at least"):
            tokenprune.evaluate(make("plain"), LOADER, **wrong)


def test_all_are_those_that_need_no_training_with_draws_of_the_random_one() -> None:
    table = tokenprune.evaluate(make("plain"), LOADER[:1], "all", [0.5], draws=2, sites="before:1")
    methods = [row.method for row in table]
    assert {"tome", "evit", "downsample", "oracle"} <= set(methods)
    assert "dynamicvit" not in methods
    assert [row.draw for row in table if row.method == "random"] == [0, 1]


def test_a_model_comes_back_as_it_was_and_nothing_to_measure_is_said() -> None:
    vit = make("plain").train()
    tokenprune.evaluate(vit, LOADER[:1], ["magnitude"], [0.5], sites="before:1")
    assert vit.training
    with pytest.raises(TokenpruneError, match="the loader has no images"):
        tokenprune.evaluate(vit, [], ["magnitude"], [0.5], sites="before:1")
    with pytest.raises(UsageError, match="keep 0: must be above 0"):
        tokenprune.evaluate(vit, LOADER, ["magnitude"], [0], sites="before:1")


TOKENS = torch.randn(3, 24, 8, dtype=torch.float64)
GRID = (4, 6)


def chosen(method: str, keep: float | int, **options) -> list[list[int]]:
    return tokenprune.select(TOKENS, method, keep, grid=GRID, **options).tolist()


def test_selectors_stand_alone() -> None:
    norms = TOKENS.norm(dim=2).tolist()
    assert chosen("norm", 0.25) == [reference.largest(row, 6) for row in norms]
    assert chosen("divprune", 7) == [reference.divprune(image.numpy(), 7) for image in TOKENS]
    homes = [[i] for i in range(24)]
    for method, order in (("l1", 1), ("l2", 2), ("linf", math.inf)):
        assert chosen(method, 10) == [reference.central(GRID, order, homes, 10)] * 3
    random = np.array(chosen("random", 0.5))
    assert random.shape == (3, 12)
    assert (np.diff(random) > 0).all()
    assert len({tuple(row) for row in random}) == 3
    assert chosen("random", 0.5) == random.tolist() != chosen("random", 0.5, seed=1)
    assert chosen("norm", 1.0) == [list(range(24))] * 3
    assert [len(row) for row in chosen("norm", 1)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("method", "keep", "options", "says"),
    [
        ("tome", 0.5, {}, "'tome' asks for keys, and there is no model here"),
        ("magnitude", 0.5, {}, "'magnitude' asks for attention"),
        ("downsample", 0.5, {}, "'downsample' merges tokens"),
        ("cropr", 0.5, {}, "'cropr' has parameters to learn"),
        ("avit", 0.5, {}, "'avit'"),
        ("norm", 0, {}, "keep 0: must be a share above 0"),
        ("norm", 25, {}, "a number of 1 to 24 tokens"),
        ("norm", 1.5, {}, r"keep 1\.5"),
        ("norm", 0.5, {"grid": (5, 5)}, "24 tokens are no grid of 5 x 5"),
        ("nothing", 0.5, {}, "unknown pruner 'nothing'"),
    ],
)
def test_what_no_selector_can_do_is_refused(method, keep, options, says) -> None:
    with pytest.raises(UsageError, match=says) as refused:
        tokenprune.select(TOKENS, method, keep, **{"grid": GRID, **options})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("tokens", "says"),
    [
        (torch.randn(4, 3), r"takes a floating-point tensor \[images, tokens, channels\], found a tensor of \[4, 3\]"),
        (np.zeros((1, 4, 3)), "found ndarray"),
        (torch.zeros(1, 4, 3, dtype=torch.long), "torch.int64"),
        (torch.full((1, 4, 3), torch.nan), "NaN or infinite"),
    ],
)
def test_what_is_no_tokens_is_refused_in_a_line(tokens, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        tokenprune.select(tokens, "norm", 0.5)


def test_tokens_that_are_no_square_need_no_grid() -> None:
    tokens = torch.randn(2, 50, 4)
    index = tokenprune.select(tokens, "norm", 10)
    assert torch.equal(index, tokens.norm(dim=2).topk(10).indices.sort().values)


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        ({"images": images(2), "labels": torch.zeros(2)}, "gives pairs of images"),
        ((images(2, side=24), torch.zeros(2, dtype=torch.long)), r"the model takes \[images, 3, 16, 16\]"),
        (("a", "b"), "gives pairs of images"),
    ],
)
def test_other_loaders_are_refused_in_a_line(batch, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        tokenprune.evaluate(make("plain"), [batch], "norm", 0.5)


def test_one_ratio_is_enough_and_draws_are_told_apart() -> None:
    table = tokenprune.evaluate(make("plain"), [(images(4), torch.arange(4))], "random", 0.5)
    assert [row.draw for row in table] == [0, 1, 2]
    assert [line.split()[2] for line in str(table).splitlines()] == ["draw", "0", "1", "2"]
    assert {"sparsify", "evaluate", "select", "to_onnx"} <= set(dir(tokenprune))
