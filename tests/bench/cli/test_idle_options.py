"""Options that another one leaves without effect."""

import pytest

LINES = [
    "leaderboard --format json --columns row,score",
    "leaderboard --format json --rows 3",
    "leaderboard --format json --pivot",
    "leaderboard --format json --group-by model",
    "leaderboard --format csv --wide",
    "leaderboard --format csv --standalone",
    "leaderboard --standalone",
    "leaderboard --format table --pivot",
    "leaderboard --format table --group-by model",
    "leaderboard --columns row --wide",
    "leaderboard --pivot --rows 3",
    "leaderboard --publish there --format json",
    "leaderboard --publish there --write page.md",
    "leaderboard --write page.md --dataset demo",
    "compare a b --json --format csv",
    "show a --json --topk",
    "show a --json --user u1",
    "show a --user u1 --curve",
    "show a --titles",
    "show a --set demo.clips=3",
    "grid grid.yaml --plan --worker",
    "grid grid.yaml --plan --json",
    "grid grid.yaml --worker --json",
    "verify pack.zip --seed 1",
    "verify pack.zip --set demo.clips=3",
    "check --baseline b.json --reason why",
    "check --baseline b.json --update --reason why --junit x.xml",
    "report --set demo.clips=3",
    "data audit --fusion gate",
    "features audit captions --sample 3",
    "features audit --score s.csv --dataset demo",
    "explain a --json --clips 3",
    "extract --extractor captions --price 3",
    "extract --extractor captions --gpus 0.5",
    "extract --extractor captions --plan --min-coverage 0.5",
    "extract --extractor captions --plan --assume clips=3 --dataset demo",
    "guide protocol --write",
]


@pytest.mark.parametrize("line", LINES)
def test_an_option_without_effect_is_refused_before_anything_is_read(bench, tmp_path, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    done = bench(*line.split(), env={"BENCH_CACHE": str(tmp_path / "c"), "BENCH_RESULTS": str(tmp_path / "r")})
    assert done.exit_code == 2
    assert "has no effect with" in done.stderr, done.stderr
    assert "try: " in done.stderr and list(tmp_path.iterdir()) == []


def test_json_of_boards_names_what_to_leave_out_and_defaults_are_no_options_that_were_typed(
    bench, write_cell, tmp_path
):
    write_cell("sasrec", "id", "id")
    words = ("leaderboard", "--results", tmp_path, "--format")
    refused = bench(*words, "json", "--columns", "row")
    assert "--columns has no effect with --format json" in refused.stderr and "--format csv" in refused.stderr
    assert bench(*words, "json").exit_code == 0
    assert bench(*words, "csv", "--columns", "row").exit_code == 0
    assert bench("compare", "sasrec", "sasrec", "--json").exit_code == 2  # `--format md` is a default
