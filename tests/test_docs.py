"""README.md and docs/*.md: every block runs at small size, every command parses, every link and number has its source.

A page's blocks run in order in one folder, with the shipped recipes shrunk to a second each; on pages that do not begin
with training, a finished run is there. A block that cannot run here is preceded by `<!-- not run: REASON -->`; its
`tokenprune` commands are parsed all the same. Sweeps are run with --dry-run, theory experiments with one trial.
"""

import csv
import gzip
import json
import re
import runpy
import shlex
import shutil
import statistics
import subprocess
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import typer
from factories import CLASSES, make_run, write_images
from PIL import Image

from tokenprune import data
from tokenprune.cli import main
from tokenprune.cli.app import app
from tokenprune.data.scene import PLANTS
from tokenprune.models import SparseViT, build
from tokenprune.pruners import BUILT_IN, Signals, known_pruners
from tokenprune.pruners.registry import LEARNED
from tokenprune.recipe import Data, Model, dump_recipe, load, parse_recipe, shipped_recipes
from tokenprune.recipe.document import document
from tokenprune.recipe.sweep import load_sweep

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RESULTS = sorted((ROOT / "docs" / "results").glob("*/README.md"))
LANGUAGES = {"bash", "python", "yaml", "toml", "text"}

#: Blocks that are only parsed, by page.
NOT_RUN = {
    "siblings.md": 1,
    "data.md": 1,
    "getting-started.md": 1,
    "methods.md": 1,
    "models.md": 1,
    "python.md": 1,
    "sweeps.md": 2,
}
#: Pages that train what they need.
FROM_NOTHING = {"README.md", "getting-started.md"}
#: Commands that are only parsed: they take minutes, or write outside the folder.
LONG = {"bench", "--install-completion"}

SMALL = [
    "model.dim=12",
    "model.heads=3",
    "data.train_size=null",
    "data.test_size=null",
    "data.patterns.train_size=60",
    "data.patterns.test_size=40",
    "train.epochs=1",
    "train.warmup_epochs=0",
    "train.batch_size=20",
    "train.precision=fp32",
    "evaluate.keep=[1.0, 0.7, 0.5]",
    "evaluate.seeds=2",
    "evaluate.batch_size=20",
    "evaluate.examples=1",
]

SMALL_THEORY = {
    "phase": ["grid.samples=[40, 80]"],
    "attention": ["curve.iterations=20"],
    "sparsify": ["removal.removed=[0, 20]", "removal.samples=[40, 80]", "removal.curve_samples=40"],
    "time": ["convergence.iterations=20"],
    "spatial": ["curve.iterations=40", "transfer.iterations=10", "transfer.samples=[32, 64]"],
}


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    text: str
    reason: str | None  # why it is not run

    @property
    def name(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    opened: tuple[int, str] | None = None
    reason, body = None, []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("```"):
            if opened is None:
                opened, body = (number, line[3:]), []
            else:
                found.append(Block(page, *opened, "\n".join(body) + "\n", reason))
                opened, reason = None, None
        elif opened:
            body.append(line)
        elif marked := re.fullmatch(r"<!-- not run: (.+) -->", line):
            reason = marked[1]
        elif line.strip():
            reason = None
    assert opened is None, f"{page.name}:{opened} is not closed"
    return found


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def commands(block: Block) -> Iterator[list[str]]:
    """The words of each command, without environment variables before it."""
    for line in block.text.replace("\\\n", " ").splitlines():
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word in ("&&", ";"):
                if words:
                    yield words
                words = []
            elif words or not re.match(r"[A-Z_]+=", word):
                words.append(word)


GROUP = typer.main.get_command(app)


def options_of(verb: str) -> set[str]:
    return {"--help", *(name for each in GROUP.commands[verb].params for name in each.opts)}  # type: ignore[attr-defined]


def parse(words: list[str]) -> None:
    """Raises click's error where a verb, option or choice does not exist."""
    group = GROUP.make_context("tokenprune", list(words), resilient_parsing=True)
    if words[0].startswith("-"):
        assert words[0] in {name for each in GROUP.params for name in each.opts}
        return
    GROUP.commands[words[0]].make_context(words[0], list(words[1:]), parent=group)  # type: ignore[attr-defined]


def run(words: list[str]) -> None:
    """Run a command, smaller where it does not say otherwise itself."""
    if words[0] == "sweep" and "--dry-run" not in words:
        words = [*words, "--dry-run"]
    if words[0] == "theory":
        words = [*words, "--trials", "1"]
        for setting in SMALL_THEORY[words[1]]:
            key = setting.partition("=")[0]
            if not any(name in word for word in words for name in (key, f"--{key.partition('.')[2]}")):
                words += ["--set", setting]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert not ended.value.code, f"tokenprune {shlex.join(words)}: exit status {ended.value.code}"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty images that look like CIFAR-10 to the program, and two of each plant of CIFAR-100."""
    folder = tmp_path_factory.mktemp("data")
    draw = np.random.default_rng(0)
    plants = {label: name for name, label in PLANTS.items()}
    for source, labels, classes in (
        ("cifar10", np.arange(60) % 10, CLASSES),
        ("cifar100", np.arange(200) % 100, [plants.get(label, str(label)) for label in range(100)]),
    ):
        pixels = draw.integers(0, 256, (len(labels), 32, 32, 3), np.uint8)
        write_images(folder / f"{source}.npz", pixels, labels, classes)
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The shipped recipes, each shrunk to a second."""
    folder, shipped = tmp_path_factory.mktemp("recipes"), shipped_recipes()
    for name, path in shipped.items():
        recipe = parse_recipe(path.read_text(encoding="utf-8"), name, SMALL)
        (folder / path.name).write_text(dump_recipe(recipe))
    return {name: folder / path.name for name, path in shipped.items()}


@pytest.fixture(scope="module")
def trained(small: dict[str, Path], images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("trained") / "runs"
    run(["train", "--recipe", str(small["shallow"]), "--runs-dir", str(runs), "--data-dir", str(images), "--quiet"])
    return runs


@pytest.fixture
def project(small: dict[str, Path], images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run commands in, with what they name of the repository, small recipes and small images."""
    for name in ("docs", "scripts", "recipes"):
        (tmp_path / name).symlink_to(ROOT / name)
    Image.new("RGB", (50, 40), "orange").save(tmp_path / "cat.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOKENPRUNE_DATA", str(images))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(load, "shipped_recipes", lambda kind="": small if kind == "" else shipped_recipes(kind))
    return tmp_path


@pytest.mark.usefixtures("own_pruners")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_blocks_of_a_page_run(page: Path, project: Path, request: pytest.FixtureRequest) -> None:
    if page.name not in FROM_NOTHING:
        shutil.copytree(request.getfixturevalue("trained"), project / "runs")
    names: dict[str, Any] = {"__name__": "documented"}
    for block in blocks(page):
        if block.language == "python" and not block.reason:
            exec(compile(block.text, block.name, "exec"), names)
        elif block.language == "bash":
            for words in commands(block):
                run_or_parse(words, block)


def run_or_parse(words: list[str], block: Block) -> None:
    """Run or parse a command of a block."""
    if words[0] == "tokenprune":
        parse(words[1:])
        if not block.reason and words[1] not in LONG:
            run(words[1:])
    elif words[0].startswith("./scripts/"):
        assert (ROOT / words[0]).stat().st_mode & 0o100, f"{words[0]} cannot be executed"
        subprocess.run(["bash", "-n", ROOT / words[0]], check=True)
    else:
        assert block.reason, f"{block.name}: {words[0]} is not run here; say why above the block"


@pytest.mark.parametrize("page", RESULTS, ids=lambda page: page.parent.name)
def test_the_commands_of_a_result_set_exist(page: Path) -> None:
    for block in blocks(page):
        assert block.language == "bash"
        for words in commands(block):
            if words[0] == "tokenprune":
                parse(words[1:])
                assert all((ROOT / word).exists() for word in words if word.startswith("docs/")), words
            else:
                assert (ROOT / words[0]).stat().st_mode & 0o100, words


def test_blocks_that_are_not_run_are_counted() -> None:
    marked = [block for page in PAGES for block in blocks(page) if block.reason]
    assert {page.name: count for page in PAGES if (count := sum(block.page == page for block in marked))} == NOT_RUN


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_has_a_language_and_none_is_indented(page: Path) -> None:
    assert {block.language for block in blocks(page)} <= LANGUAGES
    assert re.findall(r"^ {4}\S.*", prose(page), re.MULTILINE) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_sentences_exist(page: Path) -> None:
    for span in re.findall(r"`tokenprune\s+([^`]+)`", prose(page)):
        verb, *words = span.split()
        if verb in ("VERB",):
            continue
        assert verb in GROUP.commands, span  # type: ignore[attr-defined]
        assert {word for word in words if word.startswith("--")} <= options_of(verb), span


def test_yaml_and_toml_blocks_are_what_they_show(tmp_path: Path) -> None:
    for block in (block for page in PAGES for block in blocks(page)):
        if block.language == "toml":
            assert tomllib.loads(block.text), block.name
        elif block.language == "yaml" and block.text.startswith("model:"):
            parse_recipe(block.text, block.name)
        elif block.language == "yaml":  # a sweep, or some of its keys
            sweep = tmp_path / "mine.yaml"
            sweep.write_text(block.text if block.text.startswith("base:") else f"base: shallow\n{block.text}")
            load_sweep(str(sweep))


@pytest.mark.parametrize("page", [*PAGES, *RESULTS], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    text = prose(page)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target:
            path, _, section = target.partition("#")
            there = (page.parent / path).resolve() if path else page
            assert there.exists(), target
            if section:
                assert section in sections(there), target
    for path in re.findall(r"`((?:docs|scripts|tests|tokenprune|recipes)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), path


def sections(page: Path) -> set[str]:
    """Anchors of its headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    text = PAGES[0].read_text(encoding="utf-8")
    told = [line for line in prose(PAGES[0]).splitlines() if not line.startswith("|")]
    assert len(" ".join(told).split()) <= 850
    assert [page.name for page in PAGES[1:] if f"(docs/{page.name})" not in text] == []


def test_the_list_of_keys_is_what_the_schema_says() -> None:
    assert (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8") == document(), (
        "out of date: python -m tokenprune.recipe.document > docs/recipes.md"
    )


def packed(results: str) -> Iterator[dict[str, Any]]:
    """Files of every run of a committed set, by their names."""
    with gzip.open(ROOT / "docs" / "results" / results / "runs.jsonl.gz", "rt", encoding="utf-8") as lines:
        yield from (tree["files"] for tree in map(json.loads, lines) if "run" in tree)


def points(results: str, site: str) -> dict[tuple[int, str, float], list[dict[str, float]]]:
    """By depth, method and ratio: accuracy, FLOPs and speed-up of each seed at a site, means over draws."""
    found: dict[tuple[int, str, float], list[dict[str, float]]] = defaultdict(list)
    for files in packed(results):
        depth = files["result.json"]["model"]["depth"]
        for curve in (
            content for name, content in files.items() if name.startswith("prune/") and name.endswith("result.json")
        ):
            for keep in {point["keep_ratio"] for point in curve["points"] if curve["site"] == site}:
                draws = [point for point in curve["points"] if point["keep_ratio"] == keep]
                means = {
                    key: statistics.mean(each[key] or 1.0 for each in draws)  # no speed of the unpruned model
                    for key in ("accuracy", "flops", "speedup")
                }
                found[depth, curve["method"], keep].append(means)
    return found


def table() -> list[str]:
    """The rows of README's table, best first: accuracy by ratio, FLOPs and speed-up at .5, means over three seeds."""
    found = points("trained", "before:2")
    rows = []
    for method in {method for depth, method, _ in found if depth == 6}:
        seeds = [found[6, method, keep] for keep in (0.9, 0.7, 0.5, 0.3)]
        assert [len(runs) for runs in seeds] == [3] * 4
        accuracies = [100 * statistics.mean(run["accuracy"] for run in runs) for runs in seeds]
        flops, speed = (statistics.mean(run[key] for run in seeds[2]) for key in ("flops", "speedup"))
        cells = [f"`{method}`", *(f"{accuracy:.1f}" for accuracy in accuracies), f"{flops / 1e9:.3f}", f"{speed:.2f}"]
        rows.append((sum(accuracies), f"| {' | '.join(cells)} |"))
    return [row for _, row in sorted(rows, reverse=True)]


def test_the_table_is_of_the_committed_runs() -> None:
    text = PAGES[0].read_text(encoding="utf-8")
    assert re.findall(r"^\| `.*", text, re.MULTILINE) == table()


def test_the_figure_is_of_the_committed_runs(tmp_path: Path) -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "readme_figure.py"))
    for depth, site in script["PANELS"]:
        drawn = script["curves"]()[depth, site, "magnitude"][0.5]
        seeds = points("trained", site)[depth, "magnitude", 0.5]
        assert drawn == [(run["flops"] / 1e9, 100 * run["accuracy"]) for run in seeds]
    ratios = dict.fromkeys(script["KEEP"], 0.5)
    run = make_run(tmp_path, methods={"magnitude": ratios}).path
    (examples,) = run.glob("prune/*/examples.npz")
    np.savez(examples, images=np.zeros((8, 32, 32, 3), np.uint8), owner=np.zeros((len(ratios), 8, 1, 64), int))
    script["main"](run, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_the_findings_are_those_of_the_committed_verdicts() -> None:
    """Signed numbers of a finding are effects of the results that it links to; in parentheses, bounds."""
    section = re.search(r"^## Findings$(.*?)^## ", PAGES[0].read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert section
    findings = re.findall(r"^- (.*?)(?=^- |\n\n|\Z)", section[1], re.DOTALL | re.MULTILINE)
    assert len(findings) >= 5
    for finding in findings:
        effects, bounds = set(), set()
        for results in re.findall(r"\(docs/results/([\w-]+)/", finding):
            for path in (ROOT / "docs" / "results" / results).glob("*claims.csv"):
                with path.open(newline="", encoding="utf-8") as lines:
                    for row in csv.DictReader(lines):
                        unit = 100 if row["unit"].startswith(("accuracy", "share")) else 1
                        for prefix in ("", "mean_"):  # of a depth, over depths
                            known = [row[f"{prefix}{key}"] for key in ("effect", "low", "high")]
                            effect, *ends = [f"{unit * float(value):+.1f}" for value in known if value] or [None]
                            effects |= {effect}
                            bounds |= set(ends)
        number = r"(?<![\w.^])[+-]\d+\.\d"
        inside = " ".join(re.findall(r"\([^)]*\)", finding))
        assert set(re.findall(number, re.sub(r"\([^)]*\)", "", finding))) <= effects, finding
        assert set(re.findall(number, inside)) <= bounds, finding


def code(page: str) -> list[str]:
    return [block.text for block in blocks(ROOT / "docs" / page) if block.language == "python"]


def test_the_documented_file_of_images_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (lines,) = code("data.md")
    exec(lines, {})
    found = data.load(Data(source="mine.npz"))
    assert (len(found.train), len(found.test), found.classes) == (160, 40, ("dark", "bright"))
    assert found.train.images[found.train.labels == 0].max() < 128


def test_every_array_of_a_file_of_images_is_documented() -> None:
    asked = set(re.findall(r"`((?:train|test)_\w+|classes|official)`", (ROOT / "docs" / "data.md").read_text()))
    parts = {f"{part}_{what}" for part in ("train", "test") for what in ("images", "labels", "exact")}
    assert asked == parts | {"classes", "official"}


@pytest.mark.usefixtures("own_pruners")
def test_the_documented_pruner_keeps_what_it_says() -> None:
    peak, use = code("pruners.md")
    assert len([line for line in peak.splitlines() if line.strip()]) <= 10
    names: dict[str, Any] = {"__name__": "documented"}
    exec(peak + use, names)
    trace, model = names["trace"], names["model"]
    assert known_pruners()["peak"] == "Keep the tokens of largest single channel."
    assert (trace.logits.shape, trace.states[0].position.shape) == ((8, 10), (8, 32))
    images = torch.randn(2, 3, 32, 32)
    state = model.advance(model.embed(images), 0, 2)
    largest = state.tokens[:, 1:].amax(dim=2).topk(32).indices.sort(dim=1).values
    assert model.run(images, 0.5).states[0].position.equal(largest)


def test_every_method_has_a_row() -> None:
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == set(BUILT_IN)
    learned = text[text.index("## Learned") :]
    assert all((f"| `{name}`" in learned) == line.endswith(LEARNED) for name, line in BUILT_IN.items())


def test_every_signal_is_documented() -> None:
    text = (ROOT / "docs" / "pruners.md").read_text(encoding="utf-8")
    names = [name for name in vars(Signals) if not name.startswith("_")]
    assert [name for name in names if f"`{name}()`" not in text and f"signals.{name}`" not in text] == []


def test_the_documented_measurement_measures() -> None:
    (lines,) = code("measurements.md")
    names: dict[str, Any] = {}
    exec(lines, names)
    model = SparseViT(build(Model(depth=2, dim=12, heads=3), classes=3, image_size=16)).eval()
    batch = SimpleNamespace(images=torch.randn(4, 3, 16, 16))
    expected = model.features(batch.images, 4).norm(dim=2).mean(dim=1).sum()
    with torch.no_grad():
        assert names["measure"](model, iter([batch]))["norm"].values == pytest.approx(float(expected))
