"""The explorer: its data as decoded here, and the page in headless Chromium against the drawing made in Python."""

import base64
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.factories import make_prune, make_run
from tokenprune import report
from tokenprune.drawing.picture import greyed, grouped
from tokenprune.report import explorer
from tokenprune.runs import RunFolder

CHROMIUM = shutil.which("chromium")
KEEP = {1.0: 0.6, 0.5: 0.58, 0.25: 0.4}
GRID, SIDE = 8, 32


def merge(run: RunFolder, method: str) -> dict[str, np.ndarray]:
    """Give a curve's examples two sites, and groups at the second, as a merging method leaves them."""
    (path,) = run.path.glob(f"prune/{method}-*/examples.npz")
    with np.load(path) as arrays:
        found = dict(arrays)
    draw = np.random.default_rng(1)
    first = found["owner"][:, :, 0]
    second = np.where(first >= 0, draw.integers(0, 5, first.shape), -1)
    found["owner"] = np.stack([first, second], axis=2).astype(np.int16)
    found["count"] = np.stack([(first >= 0).sum(axis=2), 6 + 0 * first[:, :, 0]], axis=2)  # one is nobody's patch
    found["attention"] = (draw.random(first.shape) * (second >= 0) / 64).astype(np.float16)
    np.savez(path, **found)
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    folder = tmp_path_factory.mktemp("work")
    for depth in (1, 6):
        methods = {"magnitude": KEEP, "random": KEEP}
        run = make_run(
            folder / "runs", depth=depth, accuracy=0.6, methods=methods, site="before:0,1"[: 8 + 2 * (depth > 1)]
        )
        if depth == 6:
            found = merge(run, "magnitude")
            merge(run, "random")
    return report.write(folder / "runs", folder / "out") and folder / "out" / "index.html", found


def data_of(page: Path) -> list[dict[str, Any]]:
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="explorer-data">(.*?)</script>', text, re.S)[1])  # type: ignore[index]


def test_its_data_are_the_examples(written: tuple[Path, dict[str, np.ndarray]]) -> None:
    page, found = written
    shallow, deep = data_of(page)
    assert (shallow["depth"], deep["depth"]) == (1, 6)
    assert [method["sites"] for method in deep["methods"]] == [["before block 0", "before block 1"]] * 2
    rows = deep["methods"][0]["rows"]
    assert [row["keep"] for row in rows] == ["1", "0.5", "0.25"]
    for point, row in enumerate(rows):
        owner = np.frombuffer(base64.b64decode(row["owner"]), "<i2").reshape(found["owner"].shape[1:])
        assert (owner == found["owner"][point]).all()
        heat = np.frombuffer(base64.b64decode(row["heat"]), np.uint8).reshape(found["attention"].shape[1:])
        shares = found["attention"][point].astype(float)
        assert np.abs(heat / 255 - shares / shares.max(axis=1, keepdims=True)).max() < 1 / 255
        assert row["probability"] == [0.75] * 4


def test_a_page_of_too_many_pictures_leaves_some_out_and_says_so(
    written: tuple[Path, dict[str, np.ndarray]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = written[0].parents[1] / "runs"
    size = len(json.dumps(data_of(written[0])[0]))
    monkeypatch.setattr(explorer, "MOST", size + 100)
    made = report.write(runs, tmp_path / "out")
    assert [each["depth"] for each in data_of(tmp_path / "out" / "index.html")] == [1]
    assert "explorer: 1 model and site left out, a page of more is too large" in made.problems


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a | {"owner": np.full_like(a["owner"], 64)},
        lambda a: a | {"owner": a["owner"][:, :, :, :60]},
        lambda a: a | {"labels": a["labels"] + 10},
        lambda a: a | {"attention": a["attention"] * np.nan},
        lambda a: a | {"probability": a["probability"][:, :1]},
        lambda a: a | {"images": a["images"].astype(float)},
        lambda a: a | {"owner": a["owner"][..., :0], "attention": a["attention"][..., :0]},
        lambda a: a | {"owner": a["owner"][:, :, :0], "count": a["count"][:, :, :0]},
        lambda a: a | {"owner": a["owner"].astype(str)},
        lambda a: {key: value[:, :0] if key in ("owner", "count") else value for key, value in a.items()},
        lambda a: a | {"images": a["images"][:, :0, :0]},
        lambda a: a | {"predictions": a["predictions"].astype(float)},
        lambda a: a | {"labels": a["labels"] > 3},
        lambda a: a | {"attention": a["attention"].astype("m8")},
        lambda a: a | {"count": a["count"] + 64},
        lambda a: {key: value for key, value in a.items() if key != "predictions"},
    ],
)
def test_damaged_examples_are_named_and_left_out(tmp_path: Path, change: Any) -> None:
    run = make_run(tmp_path / "runs", accuracy=0.6, methods={"magnitude": KEEP})
    (path,) = run.path.glob("prune/*/examples.npz")
    with np.load(path) as arrays:
        np.savez(path, **change(dict(arrays)))
    made = report.write(tmp_path / "runs", tmp_path / "out")
    assert any(f"{path}: damaged, nothing of it is drawn" in problem for problem in made.problems)
    assert 'id="explorer-data"' not in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs Debian's chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


class Page:
    """The report in a browser that is offline. asked: what it wanted from anywhere else. said: its errors."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.context = browser.new_context(offline=True, **options)
        self.page = self.context.new_page()
        self.asked: list[str] = []
        self.said: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: message.type == "error" and self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("#explorer-app[data-ready]")
        self.began = self.text("says")
        self.page.eval_on_selector(
            "[data-is=keep]", "each => { each.value = 0; each.dispatchEvent(new Event('input')); }"
        )

    def choose(self, name: str, label: str) -> None:
        self.page.select_option(f"[data-is={name}]", label=label)
        self.page.wait_for_timeout(100)

    def text(self, name: str) -> str:
        return self.page.inner_text(f"[data-is={name}]")

    def pixels(self) -> np.ndarray:
        """Of the large canvas, one in the middle of each of the picture's pixels: [h, h, 3]."""
        script = (
            """canvas => Array.from(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data)"""
        )
        found = np.array(self.page.eval_on_selector("[data-is=canvas]", script), np.uint8)
        edge = round((len(found) // 4) ** 0.5)
        step = edge // SIDE
        return found.reshape(edge, edge, 4)[step // 2 :: step, step // 2 :: step, :3]


def test_what_is_drawn_is_what_is_drawn_in_python(written: tuple[Path, dict[str, np.ndarray]], browser: Any) -> None:
    path, found = written
    shown = Page(browser, path)
    shown.choose("depth", "6 blocks")
    shown.choose("method", "magnitude")
    for key in ("ArrowDown", "ArrowRight", "ArrowRight"):
        shown.page.press("[data-is=canvas]", key)
    for site, name in ((0, "before block 0"), (1, "before block 1")):
        shown.choose("site", name)
        image, owner = found["images"][2], found["owner"][1, 2, site].astype(int)
        wanted = greyed(grouped(image, owner), owner >= 0).astype(int)
        inner = np.arange(SIDE)[np.isin(np.arange(SIDE) % 4, (1, 2))]  # borders lie on a patch's outer pixels
        differ = np.abs(shown.pixels()[np.ix_(inner, inner)].astype(int) - wanted[np.ix_(inner, inner)])
        assert differ.max() <= 1
        assert f"magnitude, keep 0.5: {[16, 6][site]} of 64 tokens are left {name}." in shown.text("says")
    view = data_of(path)[1]
    said, truth = view["methods"][0]["rows"][1]["answers"][2], view["truths"][2]
    assert f"The model says {view['classes'][said]} 75 %, it is {view['classes'][truth]}." in shown.text("says")
    assert [url for url in shown.asked if not url.startswith(("file:", "data:"))] == []
    assert shown.said == []


def test_by_keyboard_alone(written: tuple[Path, dict[str, np.ndarray]], browser: Any) -> None:
    shown = Page(browser, written[0])
    assert "keep 0.5" in shown.began  # something is gone
    shown.choose("depth", "6 blocks")
    before = shown.text("says")
    shown.page.focus("[data-is=canvas]")
    plain = shown.pixels()
    shown.page.keyboard.press("h")
    assert (shown.pixels() != plain).any()
    assert shown.page.is_checked("[data-is=heat]")
    assert "the warmest patch has" in shown.text("token")
    shown.page.keyboard.press("h")
    assert (shown.pixels() == plain).all()
    shown.page.keyboard.press("m")
    assert shown.text("says").startswith("random, keep 1")
    shown.page.keyboard.press("m")
    shown.page.keyboard.press("ArrowUp")  # there is no larger ratio
    shown.page.keyboard.press("ArrowLeft")
    shown.page.keyboard.press("ArrowRight")
    assert shown.text("says") == before
    shown.page.focus("[data-is=keep]")
    shown.page.keyboard.press("End")
    assert "keep 0.25" in shown.text("says")
    shown.page.focus("[data-is=pictures] button:nth-child(2)")
    shown.page.keyboard.press("Enter")
    assert shown.page.get_attribute("[data-is=pictures] button:nth-child(2)", "aria-pressed") == "true"


def test_by_touch_on_a_dark_narrow_screen(written: tuple[Path, dict[str, np.ndarray]], browser: Any) -> None:
    path, found = written
    narrow = {"width": 420, "height": 800}
    shown = Page(browser, path, viewport=narrow, has_touch=True, is_mobile=True, color_scheme="dark")
    assert shown.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert shown.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 25, 30)"
    shown.choose("depth", "6 blocks")
    shown.page.tap("[data-is=all] button:nth-child(1)")
    shown.page.locator("[data-is=canvas]").scroll_into_view_if_needed()
    box = shown.page.locator("[data-is=canvas]").bounding_box()
    owner = found["owner"][0, 0, 1].reshape(GRID, GRID)
    shown.page.touchscreen.tap(box["x"] + box["width"] * 4.5 / GRID, box["y"] + box["height"] * 2.5 / GRID)
    assert shown.text("token") == f"Marked: a token of {(owner == owner[2, 4]).sum()} patches."


def test_without_a_script_the_page_says_so(written: tuple[Path, dict[str, np.ndarray]], browser: Any) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(written[0].as_uri())
    assert page.is_hidden("#explorer-app")
    assert "The explorer needs a script" in page.inner_text("#explorer")


def old(path: Path) -> None:
    """The file as older versions wrote it: which patches are left after the last site, and answers."""
    with np.load(path) as arrays:
        found = dict(arrays)
    kept = found["owner"][:, :, -1] >= 0
    np.savez(path, kept=kept, **{name: found[name] for name in ("images", "labels", "index", "predictions")})


def test_examples_of_older_versions_beside_new_ones(tmp_path: Path, browser: Any) -> None:
    run = make_run(
        tmp_path / "runs", depth=6, accuracy=0.6, methods={"magnitude": KEEP, "random": KEEP}, site="before:0,1"
    )
    found = merge(run, "random")
    (path,) = run.path.glob("prune/magnitude-*/examples.npz")
    old(path)
    report.write(tmp_path / "runs", tmp_path / "out")
    shown = Page(browser, tmp_path / "out" / "index.html")
    assert shown.text("says").startswith("magnitude, keep 1: 64 of 64 patches are in some token before block 1.")
    for _ in range(2):
        shown.page.press("[data-is=canvas]", "ArrowRight")
    shown.page.press("[data-is=canvas]", "m")
    shown.choose("site", "before block 0")
    shown.page.press("[data-is=canvas]", "ArrowDown")
    assert "random, keep 0.5: 16 of 64 tokens are left before block 0." in shown.text("says")
    owner = found["owner"][1, 2, 0].astype(int)
    wanted = greyed(found["images"][2], owner >= 0).astype(int)
    assert np.abs(shown.pixels().astype(int) - wanted).max() <= 1
    assert shown.said == []
    old(make_prune(run, "random", {1.0: 0.6, 0.7: 0.59}, site="before:0,1") / "examples.npz")
    made = report.write(tmp_path / "runs", tmp_path / "out")
    assert any("1 curve at before:0,1 not in the explorer: other pictures, none, or" in each for each in made.problems)


def test_a_method_measured_several_times_is_one_and_settings_of_one_recipe_are_told_apart(tmp_path: Path) -> None:
    for rate in (0.001, 0.002):
        run = make_run(
            tmp_path / "runs", accuracy=0.6, methods={"magnitude": KEEP}, overrides=(f"train.learning_rate={rate}",)
        )
        make_prune(run, "magnitude", {1.0: 0.6, 0.7: 0.59})
        make_prune(run, "random", {1.0: 0.6, 0.5: 0.5}, precision="bf16")
    report.write(tmp_path / "runs", tmp_path / "out")
    found = data_of(tmp_path / "out" / "index.html")
    assert len({view["model"] for view in found}) == 2
    assert all("setting" in view["model"] for view in found)
    assert sorted(view["where"] for view in found) == ["before:0, bf16 on cpu"] * 2 + ["before:0, fp32 on cpu"] * 2
    rows = [row["keep"] for view in found if "fp32" in view["where"] for row in view["methods"][0]["rows"]]
    assert rows == ["1", "0.7", "0.5", "0.25"] * 2


def test_hasty_choices_end_with_the_pictures_of_the_last(tmp_path: Path, browser: Any) -> None:
    runs = [
        make_run(
            tmp_path / "runs", accuracy=0.6, methods={"magnitude": KEEP}, overrides=(f"train.learning_rate={rate}",)
        )
        for rate in (0.001, 0.002)
    ]
    images = []
    for place, run in enumerate(runs):
        (path,) = run.path.glob("prune/*/examples.npz")
        with np.load(path) as arrays:
            changed = dict(arrays) | {"images": np.full((4, 32, 32, 3), 60 + 100 * place, np.uint8)}
        np.savez(path, **changed)
        images.append(changed["images"][0])
    report.write(tmp_path / "runs", tmp_path / "out")
    shown = Page(browser, tmp_path / "out" / "index.html")
    hasty = """async () => {
        const s = document.querySelector("[data-is=model]"), image = document.querySelector("[data-is=canvas]");
        for (const i of [1, 0, 1, 0, 1, 1, 0, 1]) {
            s.value = i;
            s.dispatchEvent(new Event("change"));
            image.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight"}));
        }
        await new Promise((done) => setTimeout(done, 300));
    }"""
    shown.page.evaluate(hasty)
    last = data_of(tmp_path / "out" / "index.html")[1]["pictures"][0]
    first = shown.page.get_attribute("[data-is=pictures] img", "src")
    assert first == last
    assert len(set(shown.pixels().reshape(-1).tolist())) == 1
    assert shown.pixels()[0, 0, 0] in (60, 160)
    loaded = shown.page.evaluate(
        """async (source) => {
        const image = new Image(); image.src = source; await image.decode();
        const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
        pen.drawImage(image, 0, 0);
        return pen.getImageData(0, 0, 1, 1).data[0];
    }""",
        last,
    )
    assert shown.pixels()[0, 0, 0] == loaded
    assert shown.said == []
