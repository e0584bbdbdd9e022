import json
import shutil
from pathlib import Path

from factories import make_run

from tokenprune.claims import judge, read_runs, studies
from tokenprune.experiments import CLAIMS

METHODS = {"magnitude": {1.0: 0.6, 0.5: 0.58}, "random": {1.0: 0.6, 0.5: 0.5}}


def test_reads_what_was_written(tmp_path: Path) -> None:
    folder = make_run(tmp_path, seed=3, accuracy=0.6, methods=METHODS, epochs=2)
    (run,), problems = read_runs(tmp_path)
    assert problems == []
    assert run.result == folder.result()
    assert [epoch.epoch for epoch in run.epochs] == [0, 1, 2]
    assert [(path.parent.parent.name, prune.method) for path, prune in run.prunes] == [
        (folder.name, "magnitude"),
        (folder.name, "random"),
    ]


def test_no_folder_is_no_runs(tmp_path: Path) -> None:
    assert read_runs(tmp_path / "absent") == ([], [])


def test_names_and_skips_what_is_unfinished_or_half_written(tmp_path: Path) -> None:
    whole = make_run(tmp_path, seed=0, methods=METHODS)
    stopped = make_run(tmp_path, seed=1, finished=False)
    half = whole.path / "prune" / "oracle-12345678"
    half.mkdir()
    runs, problems = read_runs(tmp_path)
    assert [run.folder.name for run in runs] == [whole.name]
    assert [prune.method for _, prune in runs[0].prunes] == ["magnitude", "random"]
    assert sorted(problems) == sorted(
        [
            f"{half}: half written (no result.json): not used",
            f"{stopped.path}: not finished (interrupted): not used",
        ]
    )


def test_names_and_skips_what_is_damaged(tmp_path: Path) -> None:
    truncated, flipped = make_run(tmp_path, seed=0), make_run(tmp_path, seed=1, methods=METHODS)
    metrics = make_run(tmp_path, seed=2)
    result = truncated.path / "result.json"
    result.write_text(result.read_text()[:200])
    (metrics.path / "metrics.jsonl").write_text('{"epoch": 0')
    prune = next((flipped.path / "prune").glob("magnitude-*/result.json"))
    tree = json.loads(prune.read_text())
    tree["points"][1]["correct"] += 100  # still valid JSON, no longer what was measured
    prune.write_text(json.dumps(tree))
    runs, problems = read_runs(tmp_path)
    assert [(run.folder.name, [p.method for _, p in run.prunes], len(run.epochs)) for run in runs] == [
        (flipped.name, ["random"], 4),
        (metrics.name, [], 0),
    ]
    expected = (str(result), "its seal is broken", "metrics.jsonl: not valid JSON")
    for problem, part in zip(problems, expected, strict=True):
        assert part in problem


def test_a_copy_of_a_run_is_no_replicate(tmp_path: Path) -> None:
    original = make_run(tmp_path, seed=0)
    shutil.copytree(original.path, tmp_path / "zz-backup")
    runs, problems = read_runs(tmp_path)
    assert [run.folder.name for run in runs] == [original.name]
    assert problems == [
        f"{tmp_path / 'zz-backup'}: same setting and seed as {original.name}, so no replicate of it: not used"
    ]


def test_a_model_that_was_not_trained_here_is_one_replicate_whatever_its_seed(tmp_path: Path) -> None:
    curves = {"magnitude": {1.0: 0.6, 0.5: 0.58}, "random": {1.0: 0.6, 0.5: 0.4}}
    adopted = ("train.epochs=0", "model.checkpoint=w.pt")
    runs = [make_run(tmp_path, seed=seed, epochs=0, overrides=adopted, methods=curves) for seed in range(3)]
    found, problems = read_runs(tmp_path)
    assert [run.result.seed for run in found] == [0]
    assert sum("same model, not trained here, as" in problem for problem in problems) == 2
    (verdict,) = [each for each in judge(studies(found), CLAIMS) if each.claim == "magnitude-beats-random"]
    assert (verdict.verdict, verdict.n) == ("undecided", 1)
    assert "tokenprune train" not in (verdict.todo or "")
    assert "one model gets no verdict" in (verdict.todo or "")
    assert runs[0].name in verdict.evidence[0]
