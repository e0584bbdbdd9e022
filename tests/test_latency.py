"""`tokenprune measure latency`: what is timed, in which order, and what the numbers are by a pretended clock."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from cli.run_command import run as command

from tokenprune import pipeline
from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.evaluation import timing
from tokenprune.evaluation.timing import Watch, in_turns
from tokenprune.measurements import latency
from tokenprune.measurements.subject import Pruning, Subject
from tokenprune.models import SparseViT
from tokenprune.pipeline import measure as measuring
from tokenprune.pipeline.prepare import prepare_run
from tokenprune.recipe import Evaluate, Loaded, RemovedPerSite, parse_recipe, read_keep, read_resolved
from tokenprune.runs import MeasureResult, RunFolder

CPU = torch.device("cpu")
TINY = """
data: {source: patterns, patterns: {image_size: 16, classes: 3, count: 6, train_size: 60, test_size: 40, noise: 0.2}}
model: {depth: 2, dim: 12, heads: 3}
train: {epochs: 1, batch_size: 20, precision: fp32, augment: {crop: 0, flip: false}}
run: {device: cpu}
evaluate: {batch_size: 20, seeds: 2}
"""
FEW = {"methods": ["magnitude"], "keep": [0.5], "batch": [1, 4], "repeats": 11}


def trained(place: Path, *overrides: str) -> RunFolder:
    return pipeline.train_run(Loaded(parse_recipe(TINY, "tiny", overrides), "tiny", TINY, overrides), runs_dir=place)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return trained(tmp_path_factory.mktemp("runs"))


def subject_of(run: RunFolder) -> Subject:
    """What a measurement of the run is given."""
    return measuring.subject_of(run, prepare_run(run, read_resolved(run.resolved), None, None), "fp32")


@pytest.fixture
def subject(run: RunFolder) -> Subject:
    return subject_of(run)


def paced(monkeypatch: pytest.MonkeyPatch, seconds: Iterator[float]) -> list[object]:
    """Let every timed pass take the next of these seconds; returns what the passes answered, in order."""
    answers: list[object] = []

    def seconds_of(self: Watch, work: object) -> float:
        answers.append(work())  # type: ignore[operator]
        return next(seconds)

    monkeypatch.setattr(Watch, "seconds_of", seconds_of)
    return answers


def test_a_turn_is_timed_from_before_it_to_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [0.0, 1.0, 5.0, 7.0, 10.0, 13.0, 20.0, 24.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: shown.pop(0))
    order: list[str] = []
    taken = in_turns({name: lambda name=name: order.append(name) for name in "ab"}, Watch(CPU), rounds=1)
    assert taken == {"a": [3.0], "b": [4.0]}  # the first round, of one and two seconds, warms up
    assert order == ["a", "b", "a", "b"]
    assert shown == []


@pytest.mark.parametrize(("least", "rounds", "made"), [(1, 100, 2), (5, 100, 5), (5, 3, 3)])
def test_rounds_end_with_the_seconds_but_not_before_the_least(
    monkeypatch: pytest.MonkeyPatch, least: int, rounds: int, made: int
) -> None:
    paced(monkeypatch, itertools.repeat(1.0))  # two seconds a round: of five, the third begins and no other
    begun: list[int] = []
    taken = in_turns(
        dict.fromkeys("ab", lambda: None), Watch(CPU), rounds, least=least, seconds=5, begin=lambda: begun.append(1)
    )
    assert {name: len(each) for name, each in taken.items()} == {"a": made, "b": made}
    assert len(begun) == made + 1


def test_on_cuda_events_are_recorded_on_an_idle_device_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            done.append("event")

        def elapsed_time(self, end: "Event") -> float:
            done.append("read")
            return 250.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: done.append("wait"))
    assert Watch(torch.device("cuda")).seconds_of(lambda: done.append("pass")) == 0.25
    assert done == ["wait", "event", "pass", "event", "wait", "read"]


def test_medians_and_percentiles_in_closed_form(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Round k takes k ms unpruned and 4 k ms pruned at batch 1, half of that pruned at batch 4; 11 rounds.

    The median of 1 to 11 is 6; the 90th percentile is the value at place 0.9 x 10 from 0, which is 10.
    """

    def passes() -> Iterator[float]:
        for pruned in (4.0, 0.5):
            yield from (9.0, 9e-3)  # two unpruned passes before the rounds, of which the faster counts
            yield from (1e3, 1e3)  # warm-up
            for k in (3, 1, 2, 11, 10, 4, 9, 5, 8, 6, 7):
                yield from (k / 1000, pruned * k / 1000)

    left = passes()
    paced(monkeypatch, left)
    _, found = pipeline.measure_run(run, "latency", options=FEW | {"seconds": 1e6}, force=True)
    arrays = found.arrays
    assert arrays["median"].values == [pytest.approx([6, 6]), pytest.approx([24, 3])]
    assert arrays["p90"].values == [pytest.approx([10, 10]), pytest.approx([40, 5])]
    assert arrays["speed-up"].values == [pytest.approx([1, 1]), pytest.approx([0.25, 2])]
    assert arrays["repeats"].values == [11, 11]
    assert next(left, None) is None
    points = {"method": ("none", "magnitude"), "options": ("{}", "{}"), "site": ("", "before:0"), "keep": (1.0, 0.5)}
    assert arrays["median"].labels == {"point": points, "batch": {"batch": (1, 4)}}
    assert (found.threads, found.torch) == (torch.get_num_threads(), torch.__version__)
    assert found.processor
    assert found.precision == "fp32"


def test_all_models_see_the_same_images_which_change_with_the_round(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    forward = SparseViT.run

    def watched(self: SparseViT, images: torch.Tensor, *rest: object) -> object:
        seen.append(images)
        return forward(self, images, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(SparseViT, "run", watched)
    paced(monkeypatch, itertools.repeat(1e-3))
    latency.measure_run(subject, methods="magnitude", keep=[0.5, 0.25], batch=16, repeats=6)
    rounds = [seen[i : i + 3] for i in range(2, len(seen), 3)]
    assert len(rounds) == 7
    assert all(first.equal(other) for first, *others in rounds for other in others)
    assert not any(a[0].equal(b[0]) for a, b in itertools.pairwise(rounds))
    assert all(len(images) == 16 == len(images.unique(dim=0)) for images in seen)


def test_a_batch_that_cannot_be_is_left_out_and_said(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    paced(monkeypatch, itertools.repeat(1.0))
    forward = SparseViT.run

    def small(self: SparseViT, images: torch.Tensor, *rest: object) -> object:
        if len(images) > 8:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(self, images, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(SparseViT, "run", small)
    wanted = {"methods": "magnitude", "keep": 0.5, "repeats": 2}
    found = latency.measure_run(subject, batch=[41, 16, 8], seconds=6.0, **wanted)
    assert found["median"].labels["batch"] == {"batch": (8,)}
    assert subject.notes == ["batch 16 is left out: out of memory", "batch 41 is left out: there are 40 test images"]
    subject.notes.clear()
    with pytest.raises(UsageError, match=r"nothing measured: batch 8 is left out: 2 models take about 6 s, more than"):
        latency.measure_run(subject, batch=8, seconds=5.9, **wanted)
    monkeypatch.setattr(SparseViT, "run", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        latency.measure_run(subject, batch=8, **wanted)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "option batch: found 0, must be a whole number"),
        ({"batch": [1, 2.5]}, "option batch: found 2.5"),
        ({"batch": []}, "option batch: an empty list"),
        ({"repeats": True}, "option repeats: found True"),
        ({"seconds": float("nan")}, "option seconds: found nan, must be a number above 0"),
        ({"keep": [0.5, 0]}, r"keep '0': expected a ratio above 0 and at most 1"),
        ({"keep": []}, "option keep: an empty list"),
        ({"site": "before:9"}, "block 9 is beyond the model's depth 2"),
        ({"site": ["before:0"]}, r"option site: found \['before:0'\], must be text"),
        ({"methods": "magnitud"}, "did you mean 'magnitude'"),
        ({"methods": [3]}, "option methods: found 3, must be text"),
        ({"methods": "dynamicvit", "site": "before:1"}, "has parameters to learn"),
        ({"batches": 3}, "unknown option of measurement 'latency' 'batches': did you mean 'batch'"),
    ],
)
def test_options_that_are_refused_in_one_line(run: RunFolder, options: dict, message: str) -> None:
    with pytest.raises((UsageError, TokenpruneError), match=message) as refused:
        pipeline.measure_run(run, "latency", options={"batch": 1, "repeats": 1, "keep": 0.5} | options, force=True)
    assert "\n" not in str(refused.value)


def test_keep_is_read_as_it_is_written() -> None:
    assert [read_keep(each) for each in (0.7, 1, "0.5", "0.9/0.7", [0.9, 0.7], "r=8")] == [
        *(0.7, 1.0, 0.5, (0.9, 0.7), (0.9, 0.7), RemovedPerSite(8))
    ]
    for wrong in (0, -1, 1.5, float("nan"), True, None, "", "r=0", "r=-1", "0.5/", "0.5/2", [], ["a"], [[0.5]], {}):
        with pytest.raises(UsageError, match="keep"):
            read_keep(wrong)


def test_what_is_pruned_by_default_is_what_the_curves_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(tmp_path)
    pipeline.prune_run(run, Evaluate(methods=("magnitude", "random"), keep=(1.0, 0.5), r=(3,), site="before:1"))
    pipeline.prune_run(run, Evaluate(methods=("pitome",), keep=(0.25,), site="after:0"), options={"margin": 0.5})
    paced(monkeypatch, itertools.repeat(1e-3))
    _, found = pipeline.measure_run(run, "latency", options={"batch": 2, "repeats": 1})
    columns = found.arrays["median"].labels["point"]
    assert set(zip(*columns.values(), strict=True)) == {
        ("none", "{}", "", 1.0),
        *((name, "{}", "before:1", keep) for name in ("magnitude", "random") for keep in (0.5, "r=3")),
        ("pitome", '{"margin": 0.5}', "after:0", 0.25),
    }
    folder, _ = pipeline.measure_run(run, "latency", options={"batch": 2, "repeats": 1})
    pipeline.prune_run(run, Evaluate(methods=("tome",), keep=(0.5,), site="before:1"))
    again, more = pipeline.measure_run(run, "latency", options={"batch": 2, "repeats": 1})
    assert again != folder  # a curve more: measured again, beside the first
    assert "tome" in more.arrays["median"].labels["point"]["method"]


def test_the_pruned_model_answers_as_prune_did(tmp_path: Path) -> None:
    """Also a random one, by its first draw; in batches of another size."""
    run = trained(tmp_path)
    subject = subject_of(run)
    (folder, curve), (other, _) = pipeline.prune_run(
        run, Evaluate(methods=("random", "tome"), keep=(1.0, 0.5), site="before:1", seeds=2)
    )
    (batch,) = subject.batches_at([torch.arange(33)])
    for path, name in ((folder, "random"), (other, "tome")):
        with np.load(path / "predictions.npz") as arrays:
            expected = arrays["predictions"][1]
        with torch.no_grad():
            logits = subject.pruned(Pruning(name, "{}", "before:1", 0.5))(batch).logits
        assert logits.argmax(1).tolist() == expected[:33].tolist()
    assert (curve.points[1].keep_ratio, curve.points[1].seed) == (0.5, 0)


def test_trained_parameters_come_from_the_run(tmp_path: Path) -> None:
    run = trained(tmp_path, "pruner.name=dynamicvit", "pruner.keep_ratio=0.5", "pruner.site=before:1")
    options = {"methods": ["dynamicvit"], "site": "before:1", "keep": [0.5], "batch": 4, "repeats": 1}
    _, found = pipeline.measure_run(run, "latency", options=options)
    assert found.arrays["median"].labels["point"]["method"] == ("none", "dynamicvit")
    with pytest.raises(UsageError, match="was trained at before:1, not at before:0"):
        pipeline.measure_run(run, "latency", options=options | {"site": "before:0"})


def test_the_verb_prints_a_row_a_place_and_keeps_the_result(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["measure", "latency", "--run", run.name, "--runs-dir", run.path.parent, "--quiet", "--force"]
    for text in ("methods=[magnitude,tome]", "keep=0.5", "batch=[1,41,3]", "repeats=2"):
        words += ["--option", text]
    ended = command(capsys, *words)
    assert ended.status == 0
    heading, _, *lines = ended.out.splitlines()
    assert heading.split() == ["method", "site", "keep", "batch", "median", "[ms]", "p90", "[ms]", "speed-up", "[x]"]
    table = [line.split() for line in lines[:6]]
    assert [row[0] for row in table] == ["none", "none", "magnitude", "magnitude", "tome", "tome"]
    assert "batch 41 is left out: there are 40 test images" in lines
    result = MeasureResult.model_validate_json((Path(lines[-1]) / "result.json").read_text())
    shown = [[float(row[-3]), float(row[-2]), float(row[-1])] for row in table]
    kept = [np.ravel(result.arrays[name].values) for name in ("median", "p90", "speed-up")]
    assert pytest.approx(np.array(kept), rel=1e-5) == np.array(shown).T
    assert (np.array(kept) > 0).all()
    assert json.loads(command(capsys, *words, "--json").out)["measurement"] == "latency"
