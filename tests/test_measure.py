"""`tokenprune measure`: what it measures, where it is kept, what is refused."""

import gzip
import json
import re
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from tokenprune import data, pipeline
from tokenprune.cli import main
from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.measurements import MEASUREMENTS
from tokenprune.recipe import Loaded, parse_recipe
from tokenprune.runs import MeasureResult, RunFolder, Values, read_result, save_result

TINY = """
data: {source: patterns, patterns: {image_size: 16, classes: 3, count: 6, train_size: 60, test_size: 40, noise: 0.2}}
model: {depth: 2, dim: 12, heads: 3}
train: {epochs: 1, batch_size: 20, precision: fp32, augment: {crop: 0, flip: false}}
evaluate: {batch_size: 20}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    loaded = Loaded(parse_recipe(TINY, "tiny"), "tiny", TINY, [])
    return pipeline.train_run(loaded, runs_dir=tmp_path_factory.mktemp("runs"))


def test_attention_is_what_training_recorded_last(run: RunFolder) -> None:
    folder, result = pipeline.measure_run(run, "attention")
    assert folder.parent == run.path / "measure"
    array = result.arrays["on relevant"]
    assert (array.unit, array.axes) == ("share", ("block",))
    assert tuple(array.values) == pytest.approx(run.epochs()[-1].attention_on_relevant, abs=1e-6)
    written = (folder / "result.json").stat().st_mtime_ns
    assert pipeline.measure_run(run, "attention")[1] == result
    assert (folder / "result.json").stat().st_mtime_ns == written  # read, not measured again


def test_it_travels_with_the_run(run: RunFolder, tmp_path: Path) -> None:
    folder, _ = pipeline.measure_run(run, "attention")
    with pytest.raises(SystemExit):
        main(["pack", str(run.path.parent), str(tmp_path / "runs.jsonl.gz")])
    lines = map(json.loads, gzip.decompress((tmp_path / "runs.jsonl.gz").read_bytes()).splitlines())
    (packed,) = (line["files"] for line in lines if "run" in line)
    assert packed[f"measure/{folder.name}/result.json"] == json.loads((folder / "result.json").read_text())


def test_what_is_refused(run: RunFolder) -> None:
    with pytest.raises(UsageError, match=r"unknown measurement 'atention'.*did you mean 'attention'"):
        pipeline.measure_run(run, "atention")
    with pytest.raises(UsageError, match=r"unknown option of measurement 'attention' 'power': known: none"):
        pipeline.measure_run(run, "attention", options={"power": 2})
    folder, result = pipeline.measure_run(run, "attention")
    save_result(folder / "result.json", result.model_copy(update={"weights_sha256": "0" * 64}))
    with pytest.raises(TokenpruneError, match="measured on other weights"):
        pipeline.measure_run(run, "attention")
    assert pipeline.measure_run(run, "attention", force=True)[1] == result


def test_the_verb(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--run", run.name, "--runs-dir", str(run.path.parent), "--quiet"]
    with pytest.raises(SystemExit) as ended:
        main(["measure", "attention", *where])
    table = capsys.readouterr().out
    assert ended.value.code == 0
    _, result = pipeline.measure_run(run, "attention")
    assert all(f"{share:.6g}" in table for share in result.arrays["on relevant"].values)
    with pytest.raises(SystemExit):
        main(["measure", "attention", *where, "--json"])
    assert json.loads(capsys.readouterr().out)["arrays"]["on relevant"]["unit"] == "share"
    with pytest.raises(SystemExit) as ended:
        main(["measure", "atention", *where])
    assert ended.value.code == 2
    known = ", ".join(MEASUREMENTS)
    assert (
        capsys.readouterr().err == f"error: unknown measurement 'atention': did you mean 'attention'? known: {known}\n"
    )


@pytest.mark.parametrize("values", [[1, [2]], [[1], [2, 3]], [1, float("nan")], ["a"], [[1, 2]], 1.0])
def test_values_are_an_array_of_numbers(values: object) -> None:
    with pytest.raises(ValidationError):
        Values(unit="", axes=("x",), values=values)


def test_labels_name_every_place_on_an_axis() -> None:
    values = {"unit": "ms", "axes": ("point", "batch"), "values": [[1.0, 2.0], [3.0, 4.0]]}
    labels = {"point": {"method": ("none", "tome"), "keep": (1.0, "r=8")}, "batch": {"batch": (1, 8)}}
    array = Values(**values, labels=labels)
    assert Values.model_validate_json(array.model_dump_json()) == array
    assert Values(**values).labels == {}  # as in older results
    for wrong in ({"points": {"method": ("a", "b")}}, {"point": {"method": ("a",)}}, {"batch": {"batch": (1, None)}}):
        with pytest.raises(ValidationError):
            Values(**values, labels=wrong)


def test_a_changed_result_is_not_believed(run: RunFolder) -> None:
    folder, _ = pipeline.measure_run(run, "attention", force=True)
    path = folder / "result.json"
    whole = path.read_text()
    path.write_text(whole.replace('"unit": "share"', '"unit": "percent"'))
    with pytest.raises(TokenpruneError, match="seal is broken"):
        read_result(path, MeasureResult)
    path.write_text(whole)


@torch.no_grad()
def test_the_documented_measurement_runs() -> None:
    text = (Path(__file__).parents[1] / "docs" / "measurements.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict = {"Values": Values}
    exec(code, names)
    prepared = pipeline.prepare(parse_recipe(TINY, "tiny"), None)
    model, (batch,) = prepared.model.eval(), list(data.test_batches(prepared.dataset, 40, 4))
    found = names["measure"](model, [batch])["norm"]
    tokens = model.vit.norm_pre(model.vit._pos_embed(model.vit.patch_embed(batch.images)))
    assert found.values == pytest.approx(model.vit.blocks(tokens).norm(dim=2).mean(1).sum().item(), rel=1e-5)
    skipped = model.head(model.advance(model.embed(batch.images), 0, 2 * model.depth, skip={2, 3}))
    assert skipped.equal(model.vit.forward_head(model.vit.norm(model.vit.blocks[0](tokens))))
