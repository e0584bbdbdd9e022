"""What every built-in method owes: identity, exact counts, images that do not disturb each other, traced patches."""

from dataclasses import replace

import pytest
import torch
from model_zoo import NAMES, batch_of, images, make

from tokenprune.errors import UsageError
from tokenprune.models import BatchInfo, SparseViT, Trace
from tokenprune.pruners import BUILT_IN, Pruner, create
from tokenprune.pruners.registry import LEARNED, METHODS
from tokenprune.recipe import Schedule

COUNT = 5
RELEVANCE = torch.rand(COUNT, 16, generator=torch.Generator().manual_seed(3))
INFO = BatchInfo(RELEVANCE, torch.arange(COUNT), torch.arange(COUNT), seed=1)
IMAGES = images(COUNT).double()
#: One site in the middle, and two before blocks.
SITES = ("after:0", "before:1,2")


def model_with(method: str, site: str = "after:0", name: str = "plain", keep: float = 0.5) -> SparseViT:
    """A method in a model, its parameters (if it has any) drawn at random."""
    torch.manual_seed(0)
    try:
        model = SparseViT(make(name), create(method), Schedule.parse(site), keep).double().eval()
    except UsageError as error:
        if method != "avit" or make(name).cls_token is not None:
            raise
        pytest.skip(f"{method} refuses: {error}")
    assert model.pruner is not None
    with torch.no_grad():
        for parameter in model.pruner.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@torch.no_grad()
def run(model: SparseViT, rows: list[int] | None = None, keep: float = 0.5) -> Trace:
    rows = list(range(COUNT)) if rows is None else rows
    return model.run(IMAGES[rows], keep, INFO.take(torch.tensor(rows)))


def same(first: torch.Tensor, second: torch.Tensor) -> None:
    torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", BUILT_IN)
def test_at_ratio_one_it_is_the_unpruned_model(method: str, name: str) -> None:
    site = "before:0" if name == "depth 1" else "after:0"
    model = model_with(method, site, name, keep=1.0)
    assert torch.equal(run(model, keep=1.0).logits, SparseViT(model.vit).run(IMAGES).logits)


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("keep", [0.9, 0.5, 0.3, 1 / 16])
@pytest.mark.parametrize("method", BUILT_IN)
def test_it_keeps_exactly_what_it_says_and_every_patch_is_in_one_token_or_gone(
    method: str, keep: float, site: str
) -> None:
    model = model_with(method, site, keep=keep)
    assert model.pruner is not None
    for state, count in zip(run(model, keep=keep).states, model.counts(keep), strict=True):
        present = (state.weights > 0).sum(1)
        fewer = model.pruner.adaptive or method == "downsample"  # whose grids have no other numbers of cells
        assert (present <= count).all() if fewer else (present == count).all()
        assert (present >= 1).all()
        assert state.owner.shape == (COUNT, 16)
        assert (state.owner >= -1).all()
        assert (state.owner < state.count).all()
        assert torch.isfinite(state.tokens).all()


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("method", BUILT_IN)
def test_an_images_answer_does_not_depend_on_its_batch(method: str, site: str) -> None:
    """Neither on the order of the images nor on who they are."""
    model = model_with(method, site)
    together = run(model).logits
    order = [3, 0, 4, 1, 2]
    same(run(model, order).logits, together[order])
    for i in range(COUNT):
        same(run(model, [i]).logits[0], together[i])


@pytest.mark.parametrize("name", ["rotary", "rotary, mixed", "rotary, attention pooling", "attention pooling"])
@pytest.mark.parametrize("method", BUILT_IN)
def test_it_runs_on_models_with_rotary_codes_and_attention_pooling(method: str, name: str) -> None:
    model = model_with(method, "before:1", name)
    together = run(model)
    assert together.states[0].count <= 8
    for i in range(COUNT):
        same(run(model, [i]).logits[0], together.logits[i])


@pytest.mark.parametrize("method", BUILT_IN)
def test_weights_of_one_change_nothing(method: str) -> None:
    model = model_with(method, "after:1")
    cursor = model.schedule.cursors[0]
    sites = [(cursor, model.counts(0.5)[0])]
    with torch.no_grad():
        state = model.advance(model.embed(IMAGES), 0, cursor)
        plain = model.complete(state, cursor, sites, INFO)
        weighed = model.complete(replace(state, weight=state.weights), cursor, sites, INFO)
    same(plain.logits, weighed.logits)


@pytest.mark.parametrize("method", BUILT_IN)
def test_without_a_class_token_it_works_or_refuses_in_a_line(method: str) -> None:
    model = model_with(method, name="average pooling, registers")
    assert torch.isfinite(run(model).logits).all()


@pytest.mark.parametrize("method", BUILT_IN)
def test_training_moves_all_that_it_learns(method: str) -> None:
    """Parameters exist where a method's first line says so, and a step's loss reaches them."""
    model = model_with(method, "before:1,2")
    pruner = model.pruner
    assert pruner is not None
    assert bool(pruner.state_dict()) == BUILT_IN[method].endswith(LEARNED)
    model.train()
    trace = model.run(IMAGES, 0.5, INFO)
    labels = torch.cat([trace.logits[:1].argmax(1), INFO.labels[1:]])  # where all are wrong, a reward teaches nothing
    loss = torch.nn.functional.cross_entropy(trace.logits, labels)
    own = pruner.loss(trace, batch_of(labels), None)
    (loss if own is None else loss + own).backward()
    for name, parameter in pruner.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_a_file_is_short_and_its_first_line_says_whether_it_learns() -> None:
    for name, line in BUILT_IN.items():
        assert len((METHODS / f"{name}.py").read_text(encoding="utf-8").splitlines()) < 150, name
        pruner: Pruner = create(name)
        kinds = ["adaptive"] * pruner.adaptive + ["learned"] * line.endswith(LEARNED)
        assert line.endswith(f"({', '.join(kinds)})") if kinds else not line.endswith(("adaptive)", "learned)")), name
        assert len(line) <= 100, name
