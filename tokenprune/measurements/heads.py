"""Convex heads on the model's frozen tokens, certified, with two-layer heads beside them, and what attention clusters.

Sahiner et al. 2022 (arXiv 2205.08078), on tokens of the run's backbone: `tokenprune.heads` says what each head is and
how it is solved. The penalty of a head is chosen by a tenth of the training images, which it is not trained on; test
images choose nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tokenprune import data
from tokenprune.data import Dataset, ImageSet
from tokenprune.data.sources import balanced
from tokenprune.errors import TokenpruneError, counted, out_of_memory, shortened
from tokenprune.heads import factored, features, proximal, two_layer
from tokenprune.heads.asked import Asked, fitting
from tokenprune.heads.forms import Form, forms
from tokenprune.heads.names import GATED, LINEAR, TWO_LAYER
from tokenprune.heads.problem import Certificate, NoRoom, Problem, Solution
from tokenprune.measurements.head_clusters import clustered
from tokenprune.measurements.subject import Subject
from tokenprune.recipe import Data
from tokenprune.runs import Values

#: One training image of so many chooses the penalty.
HELD_OUT = 10

Labels = dict[str, dict[str, tuple[str | int | float, ...]]]


@dataclass(frozen=True)
class Split:
    """Tokens [n, s, d] and labels of the images that train a head, choose its penalty and test it."""

    tokens: tuple[Float[Tensor, "n s d"], ...]
    labels: tuple[Int[Tensor, " n"], ...]
    classes: int


@dataclass(frozen=True)
class Found:
    """A head at every penalty. shares: right of training, held-out and test images [3, p]. Certified if convex."""

    name: str
    kind: str
    beta: Float[Tensor, " p"]
    shares: Float[Tensor, "3 p"]
    certificate: Certificate | None = None
    solution: Solution | None = None


def measure_run(subject: Subject, **options: object) -> dict[str, Values]:
    """options: the fields of `heads.asked.Asked`.

    `accuracy` (test), `held-out accuracy`, `training accuracy`, `penalty` (beta) [head, penalty]; of convex heads
    `objective`, `certificate` (bound of the relative gap), `dual norm` over beta, `rank`, `steps` and `rank suffices`
    (1 or 0, see `_suffices`) [convex head, penalty]; `chosen` (place of the penalty) and `chosen accuracy` [head].
    Where an attention head without gates is asked for, those of `head_clusters`.

    Raises UsageError for options, TokenpruneError where features are of another model or nothing fits into memory.
    """
    shape = subject.model.shape
    given, side = fitting(options, channels=shape.dim, grid=shape.grid, cursors=2 * subject.model.depth)
    subject = replace(subject, dataset=images_for(subject, given))
    taken = features_of(subject, given, side)
    held = torch.randperm(len(taken.train), generator=torch.Generator().manual_seed(0)) % HELD_OUT == 0
    split = Split(
        (taken.train[~held], taken.train[held], taken.test),
        (taken.train_labels[~held], taken.train_labels[held], taken.test_labels),
        len(subject.dataset.classes),
    )
    with torch.autocast(subject.device.type, enabled=False):
        found = _heads(subject, given, split)
    arrays = _arrays(found, given)
    attention = next((each for each in found if (each.name, each.kind) == ("attention", LINEAR)), None)
    if attention is not None and given.images:
        arrays |= clustered(subject, given, taken, attention.solution, _chosen(attention))
    return arrays


def images_for(subject: Subject, given: Asked) -> Dataset:
    """The run's images or those of the data set asked for, as the run's model sees images; so many of both."""
    own = subject.dataset
    found = own
    if given.data is not None:
        spec = Data.model_validate({"source": given.data, "image_size": own.side, "interpolation": own.interpolation})
        other = data.load(spec, subject.data_dir).to(subject.device)
        found = replace(other, mean=own.mean, std=own.std, tiles=own.tiles)
        subject.notes.append(f"images of {given.data}, sha256 {str(found.provenance['sha256'])[:12]}")
    train = _fewer(found.train, given.train_size, 0)
    test = found.test if given.test_size is None else _fewer(found.test, given.test_size, 1)
    return replace(found, train=train, test=test)


def _fewer(images: ImageSet, size: int, stream: int) -> ImageSet:
    return images if size >= len(images) else images.take(balanced(images.labels.cpu(), size, [stream]))


def features_of(subject: Subject, given: Asked, side: int) -> features.Features:
    """Computed, or read from the file that keeps them."""
    cursor = 2 * subject.model.depth if given.cursor is None else given.cursor
    sizes = {"cursor": cursor, "side": side, "dim": given.dim}
    known = features.identity(subject.model.vit, subject.dataset, **sizes) if given.features else {}
    path = Path(given.features) if given.features else None
    if path is not None and path.exists():
        return features.read(path, known, subject.device)
    found = features.compute(
        subject.model,
        subject.dataset,
        batch_size=subject.recipe.evaluate.batch_size,
        progress=subject.progress,
        **sizes,
    )
    if path is not None:
        features.write(path, found, known)
    return found


def _heads(subject: Subject, given: Asked, split: Split) -> list[Found]:
    """Every head that memory has room for; the others are named in the notes."""
    seed, like = subject.recipe.run.seed, split.tokens[0]
    convex = forms(given.heads, given.tokens, given.dim, gates=given.gates, groups=given.groups, seed=seed, like=like)
    twins = [name for name in two_layer.TWO_LAYER if name in given.heads and given.epochs]
    jobs: list[Form | str] = [*convex, *twins]
    found: list[Found] = []
    for done, job in enumerate(jobs):
        try:
            found.append(_ordinary(job, found, given, split) if isinstance(job, str) else _solved(job, given, split))
        except (MemoryError, RuntimeError, NoRoom) as error:
            if not isinstance(error, NoRoom) and not out_of_memory(error):
                raise
            name = job if isinstance(job, str) else f"{job.name} ({job.kind})"
            subject.notes.append(f"{name} is left out: {shortened(str(error), 200)}")
        subject.progress(done + 1, len(jobs))
    if not any(each.certificate for each in found):
        raise TokenpruneError(f"nothing measured: {'; '.join(subject.notes)}")
    subject.notes.extend(_uncertified(found, given))
    return found


def _solved(form: Form, given: Asked, split: Split) -> Found:
    problem = Problem(form, split.tokens[0], split.labels[0], split.classes)
    most = problem.largest_penalty()
    if not most > 0:
        raise TokenpruneError(f"{form.name} ({form.kind}): its tokens are all alike: there is nothing to learn")
    beta = most * split.tokens[0].new_tensor(given.penalties)
    if given.solver == "fista":
        solution = proximal.solve(problem, beta, steps=given.steps)
    else:
        solution = factored.solve(problem, beta, given.rank, steps=given.steps)
    certificate = problem.certify(solution, beta)
    shares = [problem.correct(solution)]
    for tokens, labels in zip(split.tokens[1:], split.labels[1:], strict=True):
        parts = zip(tokens.split(problem.batch), labels.split(problem.batch), strict=True)
        right = sum(len(y) * Problem(form, x, y, split.classes).correct(solution) for x, y in parts)
        assert isinstance(right, Tensor)
        shares.append(right / len(labels))
    return Found(form.name, form.kind, beta, torch.stack(shares), certificate, solution)


def _ordinary(name: str, found: Sequence[Found], given: Asked, split: Split) -> Found:
    """The two-layer head at the penalties of its gated twin."""
    twin = next((each for each in found if (each.name, each.kind) == (name, GATED)), None)
    if twin is None:
        raise NoRoom("its gated twin, whose penalties it has, is left out")
    made = two_layer.train(
        name,
        split.tokens[0],
        split.labels[0],
        split.classes,
        twin.beta,
        units=given.rank,
        groups=given.groups,
        epochs=given.epochs,
        seed=0,
    )
    shares = torch.stack([made.correct(x, y) for x, y in zip(split.tokens, split.labels, strict=True)])
    return Found(name, TWO_LAYER, twin.beta, shares)


def _chosen(found: Found) -> int:
    """The place of the penalty that classifies most held-out images; of equals the strongest."""
    best = found.shares[1].max()
    places = [i for i, share in enumerate(found.shares[1]) if share == best]
    return max(places, key=lambda i: float(found.beta[i]))


def _suffices(found: Found) -> Bool[Tensor, " p"]:
    """Where no block's factors have all the rank that they may, or these may have all that the block can.

    Where factors lack rank, a minimum among them is one of the convex problem (Haeffele & Vidal 2015).
    """
    assert found.certificate is not None
    assert found.solution is not None
    most = found.solution.left.shape[3]
    whole = most == min(found.solution.left.shape[2], found.solution.right.shape[3])
    return (found.certificate.block_rank < most) | whole


def _uncertified(found: Sequence[Found], given: Asked) -> list[str]:
    """A line for each head and penalty whose gap may be more than 1 %, with what would lower it."""
    lines = []
    for each in found:
        if each.certificate is None or each.solution is None:
            continue
        for i, gap in enumerate(each.certificate.gap.tolist()):
            if gap > 0.01:
                steps = counted(int(each.solution.steps[i]), "step")
                why = f"after {steps}" if _suffices(each)[i] else "its rank may not suffice: --rank"
                lines.append(
                    f"not certified: {each.name} ({each.kind}) at {given.penalties[i]:g}: gap at most {gap:.2g}; {why}"
                )
    return lines


def _arrays(found: Sequence[Found], given: Asked) -> dict[str, Values]:
    def table(unit: str, of: Sequence[Found], axis: str, rows: Sequence[Tensor]) -> Values:
        labels: Labels = {axis: {"head": tuple(each.name for each in of), "kind": tuple(each.kind for each in of)}}
        if rows[0].ndim:
            labels["penalty"] = {"share": tuple(given.penalties)}
        return Values(unit=unit, axes=tuple(labels), values=torch.stack(list(rows)).tolist(), labels=labels)

    arrays = {
        name: table("accuracy", found, "head", [each.shares[i] for each in found])
        for i, name in ((2, "accuracy"), (1, "held-out accuracy"), (0, "training accuracy"))
    }
    arrays["penalty"] = table("1", found, "head", [each.beta for each in found])
    chosen = [torch.tensor(_chosen(each)) for each in found]
    arrays["chosen"] = table("place", found, "head", chosen)
    arrays["chosen accuracy"] = table(
        "accuracy", found, "head", [each.shares[2][i] for each, i in zip(found, chosen, strict=True)]
    )
    convex = [each for each in found if each.certificate is not None]
    kept = [each.certificate for each in convex if each.certificate is not None]
    for name, unit, rows in (
        ("objective", "nats", [each.objective for each in kept]),
        ("certificate", "share", [each.gap.clamp(max=1e6) for each in kept]),
        ("dual norm", "1", [each.dual_norm for each in kept]),
        ("rank", "1", [each.rank for each in kept]),
        ("rank suffices", "1", [_suffices(each).long() for each in convex]),
        ("steps", "1", [each.solution.steps for each in convex if each.solution is not None]),
    ):
        arrays[name] = table(unit, convex, "convex head", rows)
    return arrays
