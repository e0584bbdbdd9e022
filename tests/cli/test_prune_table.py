"""The table of `prune`: signs as everywhere else, and rows that remove nothing."""

from factories import make_run

from tokenprune.cli import show
from tokenprune.statistics import wilson


def test_signs_and_rows_that_remove_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    run = make_run(tmp_path, methods={"magnitude": {1.0: 0.6, 0.999: 0.6, 0.5: 0.58}})
    show.prunes(run.prunes(), as_json=False)
    printed = capsys.readouterr().out
    rows = {words[0]: words for line in printed.splitlines() if len(words := line.split()) == 10}
    assert [name for name in rows if name != "keep"] == ["1", "0.999=", "0.5"]
    assert [rows[name][3] for name in ("1", "0.999=", "0.5")] == ["0.00", "0.00", "−2.00"]
    assert "= removes no token: as keep 1." in printed
    assert "56.9–63.0" in rows["1"]


def test_a_narrow_terminal_has_the_names_of_curves_too(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    curves = {"magnitude": {1.0: 0.6, 0.5: 0.58}, "oracle": {1.0: 0.6, 0.5: 0.6}}
    show.prunes(make_run(tmp_path, methods=curves).prunes(), as_json=False)
    printed = capsys.readouterr().out
    assert all(f"{method} at before:0: " in printed.replace("\n", " ") for method in curves)


def test_nothing_is_said_of_rows_that_all_remove_tokens(tmp_path, capsys):
    run = make_run(tmp_path, methods={"magnitude": {1.0: 0.6, 0.5: 0.58}})
    show.prunes(run.prunes(), as_json=False)
    assert "removes no token" not in capsys.readouterr().out


def test_a_curve_is_titled_by_its_site_as_it_is_typed(tmp_path, capsys):
    ((path, curve),) = make_run(tmp_path, methods={"magnitude": {1.0: 0.6, 0.5: 0.58}}).prunes()
    scores = {"last": "input", "rollout": "input:rollout"}
    for each in scores:
        show.prunes([(path, curve.model_copy(update={"site": "input", "input_scores": each}))], as_json=False)
    titles = [line for line in capsys.readouterr().out.splitlines() if line.startswith("magnitude at")]
    assert [title.partition(": ")[0].strip(" :") for title in titles] == [
        f"magnitude at {at}" for at in scores.values()
    ]


def test_draws_of_a_random_pruner_are_one_row_with_their_mean(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    run = make_run(tmp_path, methods={"random": {1.0: 0.6, 0.5: (0.50, 0.52, 0.57)}})
    show.prunes(run.prunes(), as_json=False)
    printed = capsys.readouterr().out
    rows = {words[0]: words for line in printed.splitlines() if len(words := line.split()) == 10}
    low, high = wilson(530, 1000)
    assert rows["0.5"][1:4] == ["53.00", f"{100 * low:.1f}–{100 * high:.1f}", "−7.00"]
    assert "mean of 3 draws" in printed
    assert max(len(line) for line in printed.splitlines() if str(tmp_path) not in line) <= 80
