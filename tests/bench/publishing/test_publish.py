"""Committed results and the page written from them."""

import json
import re
import shutil
from pathlib import Path

import pytest

from bench import board_files, records, tables
from bench.boards import leaderboard
from bench.publishing import page, publish
from protocols.errors import DataError, UserError

REPOSITORY = Path(__file__).parents[3]


def test_a_published_board_is_the_local_board(write_cell, tmp_path):
    write_cell("sasrec", "id", "id", seeds=(1, 2, 3))
    write_cell("sasrec", "captions", "gate", seeds=(1, 2, 3), lift=0.05)
    copies = publish.publish(tmp_path, tmp_path / "boards")
    assert len(copies) == 12
    local, shared = (
        leaderboard.build(records.find(tmp_path / "toy")),
        leaderboard.build(records.find(tmp_path / "boards")),
    )
    assert [row.label for row in local.rows] == [row.label for row in shared.rows]
    assert local.rows[0].mean["ndcg@10"] == pytest.approx(shared.rows[0].mean["ndcg@10"], abs=1e-6)
    for copy in copies:
        own = tmp_path / "toy" / "rolling-7d" / copy.parent.name / copy.name
        wanted = records.users(own)[["user_id", "hr@10"]]
        assert records.users(copy)[["hr@10"]].equals(wanted[["hr@10"]].astype("float32"))
        assert set(records.users(copy)) == set(records.columns(copy)) <= set(publish.COLUMNS)


def test_a_board_that_is_published_again_keeps_what_is_there_and_a_newer_record_replaces_the_older(
    write_cell, tmp_path
):
    boards = tmp_path / "boards"
    write_cell("sasrec", "id", "id", seeds=(1,))
    write_cell("pop", "-", "-", seeds=(0,))
    first = publish.publish(tmp_path / "toy", boards)
    before = {copy: records.users(copy) for copy in first}
    lines = (first[0].parents[1]).read_text().splitlines()
    shutil.rmtree(tmp_path / "toy")
    write_cell("sasrec", "id", "id", seeds=(2,), simulated=True)
    second = publish.publish(tmp_path / "toy", boards)
    assert len(list(records.find(boards))) == len(first) + len(second) == 6
    assert all(records.users(copy).equals(frame) for copy, frame in before.items())
    now = first[0].parents[1].read_text().splitlines()
    assert [line for line in now if line in lines] == lines  # a diff shows the new lines alone
    for path in records.find(tmp_path / "toy"):
        path.write_text(path.read_text().replace(f'"key": "k2{path.stem[4]}"', '"key": "other"'))
        path.rename(path.with_name(f"{path.stem[:5]}-other.json"))
        path.with_suffix(".parquet").rename(path.with_name(f"{path.stem[:5]}-other.parquet"))
    third = publish.publish(tmp_path / "toy", boards)
    assert {path.stem for path in third} == {"s2-f0-other", "s2-f1-other"}
    assert sorted(path.stem for path in records.find(boards / "toy")) == sorted(path.stem for path in [*first, *third])
    (first[0].parents[2] / board_files.USERS).unlink()
    with pytest.raises(DataError, match="No such file"):
        publish.publish(tmp_path / "toy", boards)


def test_a_row_that_is_published_again_with_other_defaults_replaces_the_row_of_its_name(write_cell, tmp_path, bench):
    def with_options(paths, **options):
        for path in paths:
            content = json.loads(path.read_text())
            content["cell"]["options"]["model"] = options
            path.write_text(json.dumps(content))
            folder = path.parent.with_name(records.Cell(**content["cell"]).folder.name)
            folder.mkdir(exist_ok=True)
            for one in (path, path.with_suffix(".parquet")):
                one.rename(folder / one.name)

    boards = tmp_path / "boards"
    words = ("leaderboard", "--results", tmp_path / "toy", "--publish", boards)
    write_cell("sasrec", "id", "id", seeds=(1, 2))
    write_cell("pop", "-", "-", seeds=(0,))
    assert "replaced" not in bench(*words).stdout
    shutil.rmtree(tmp_path / "toy")
    with_options(write_cell("sasrec", "id", "id"), dim=8, min_steps=600)
    with_options(write_cell("sasrec", "id", "id"), dim=16, min_steps=600)  # two rows of one name, published together
    done = bench(*words)
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("replaced"))
    assert "on toy: sasrec id id (" in line and "4 records by 2 records: " in line
    assert "model.min_steps 'absent' -> 600" in line
    left = [records.read(path).cell for path in records.find(boards)]
    assert sorted(cell["options"]["model"]["dim"] for cell in left if cell["model"] == "sasrec") == [8, 8, 16, 16]
    assert sum(cell["model"] == "pop" for cell in left) == 2  # what is not published again stays
    assert all(cell["options"]["model"].get("min_steps") for cell in left if cell["model"] == "sasrec")
    assert "replaced" not in bench(*words).stdout


def test_two_files_a_board_in_an_order_of_their_own_and_published_copies_publish_to_themselves(write_cell, tmp_path):
    write_cell("sasrec", "id", "id", seeds=(1, 2))
    write_cell("sasrec", "captions", "gate", board="other", training={"search_curve": [{"x": 1}], "epochs": 3})
    publish.publish(tmp_path / "toy", tmp_path / "boards")
    found = sorted(path.relative_to(tmp_path / "boards").as_posix() for path in (tmp_path / "boards").rglob("*.*"))
    names = [f"{board}/{name}" for board in ("b", "other") for name in (board_files.RECORDS, board_files.USERS)]
    assert found == [f"toy/rolling-7d/{name}" for name in names]
    publish.publish(tmp_path / "boards", tmp_path / "again")
    for name in found:
        assert (tmp_path / "boards" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    (record,) = (json.loads(line) for line in (tmp_path / "boards" / found[2]).read_text().splitlines()[:1])
    assert list(record) == sorted(record)
    assert record["training"] == {"epochs": 3}


def test_where_files_lay_is_not_published_and_no_two_cells_become_one(write_cell, tmp_path):
    def place(paths, folder):
        for path in paths:
            content = json.loads(path.read_text())
            content["cell"]["options"]["extractor"] = {"text_encoder": folder, "hub": "BAAI/bge", "frames": "uniform:8"}
            content["passed"] = {"set": {"titles": {"text_encoder": folder}}, "rows": [["sasrec", "titles"]]}
            path.write_text(json.dumps(content))

    place(write_cell("sasrec", "titles", "gate"), "/home/someone/models/minilm")
    (copy, _) = publish.publish(tmp_path / "toy", tmp_path / "boards")
    record = records.read(copy)
    assert record.cell["options"]["extractor"] == {"text_encoder": "minilm", "hub": "BAAI/bge", "frames": "uniform:8"}
    assert record.passed == {"set": {"titles": {"text_encoder": "minilm"}}}  # rows: the cell says its own
    assert copy.parent.name == records.Cell(**record.cell).folder.name
    assert "someone" not in records.source_of(copy).read_text()
    shutil.rmtree(tmp_path / "boards")
    other = tmp_path / "other"
    shutil.copytree(tmp_path / "toy", other / "toy")
    place(records.find(other), "/mnt/minilm")
    shutil.move(other, tmp_path / "toy" / "again")
    with pytest.raises(UserError, match="differ in nothing but the folders"):
        publish.publish(tmp_path / "toy", tmp_path / "boards")


def test_users_are_published_under_hashes_that_agree_and_need_the_key(write_cell, tmp_path):
    write_cell("sasrec", "id", "id")
    write_cell("pop", "-", "-", seeds=(0,))
    source, boards = tmp_path / "toy", tmp_path / "boards"
    copies = publish.publish(source, boards)
    users = [records.users(copy)["user_id"] for copy in copies]
    assert all(one.equals(users[0]) for one in users)
    assert users[0].nunique() == 200
    assert not set(users[0]) & {f"u{i}" for i in range(200)}
    assert not list(boards.rglob(publish.SALT))
    again = publish.publish(source, tmp_path / "again")
    assert records.users(again[0])["user_id"].equals(users[0])
    (source / publish.SALT).unlink()
    other = publish.publish(source, tmp_path / "other")
    assert not set(records.users(other[0])["user_id"]) & set(users[0])


def test_simulated_users_keep_their_names(write_cell, tmp_path):
    write_cell("sasrec", "id", "id", simulated=True)
    (copy, _) = publish.publish(tmp_path / "toy", tmp_path / "boards")
    assert records.users(copy)["user_id"][0] == "u0"


def test_only_the_named_dataset_and_protocol_are_published(write_cell, bench, tmp_path):
    write_cell("sasrec", "id", "id")
    write_cell("sasrec", "captions", "gate")
    for path in list(records.find(tmp_path / "toy"))[:2]:
        record = records.read(path)
        record.cell = {**record.cell, "dataset": "private"}
        records.write(tmp_path / "toy" / "private", record, records.users(path))
        path.unlink()
    env = {"BENCH_RESULTS": str(tmp_path / "toy"), "BENCH_CACHE": str(tmp_path / "cache")}
    done = bench("leaderboard", "--publish", tmp_path / "boards", "--dataset", "toy", env=env)
    assert "2 records copied" in done.stdout
    assert {path.name for path in (tmp_path / "boards").iterdir()} == {"toy"}


def test_nothing_is_published_outside_the_folder(write_cell, tmp_path):
    for path in write_cell("sasrec", "id", "id"):
        record = records.read(path)
        record.cell = {**record.cell, "dataset": "..", "protocol": ".."}
        records.write(path.parent, record, records.users(path))
    copies = publish.publish(tmp_path / "toy", tmp_path / "deep" / "boards")
    assert all(copy.resolve().is_relative_to(tmp_path / "deep" / "boards" / "__" / "__") for copy in copies)


def test_failed_cells_are_not_published(write_cell, tmp_path):
    write_cell("sasrec", "id", "id", status="failed", error="x")
    with pytest.raises(UserError, match="no finished records"):
        publish.publish(tmp_path, tmp_path / "boards")


def test_committed_records_name_no_path_of_a_machine():
    for path in (REPOSITORY / "results" / "boards").rglob(board_files.RECORDS):
        text = path.read_text()
        for folder in ("home", "root", "tmp"):
            assert f"/{folder}/" not in text


def test_a_page_says_what_is_simulated_and_links_tables_and_charts_beside_the_records(write_cell, tmp_path):
    write_cell("sasrec", "id", "id", simulated=True)
    write_cell("gru4rec", "captions", "gate", lift=0.05, simulated=True)
    write_cell("gru4rec", "shuffled:captions", "gate", simulated=True)
    write_cell("bpr", "id", "id", board="real", folds=1, users=50, environment={"packages": {"torch": "2.0"}})
    written = page.write(tmp_path, tmp_path / "docs" / "page.md")
    text = written[0].read_text()
    simulated, real = text.split("\n## toy, rolling-7d\n")[1:]
    assert "Simulated world: the order of extractors here tests the plumbing, it is no evidence" in simulated
    assert "named colour 0.50 whoever sees the frames" in " ".join(simulated.replace("|", " ").split())
    assert tables.SIMULATED not in real
    links = re.findall(r"\((\.\./[^)]*)\)", text)
    assert [Path(link).name for link in links] == ["forest.svg", "heat.svg", "table.md", "table.md"]
    assert {(tmp_path / "docs" / link).resolve() for link in links} == {path.resolve() for path in written[1:]}
    whole = (tmp_path / "toy" / "rolling-7d" / "b" / "table.md").read_text()
    assert "## Extractors by recommenders" in whole
    assert "torch 2.0" in (tmp_path / "toy" / "rolling-7d" / "real" / "table.md").read_text()


def test_a_board_of_many_rows_takes_one_screen(write_cell, tmp_path):
    for at in range(15):
        write_cell(f"model{at}", "captions", "gate", lift=0.01 * at)
        write_cell(f"model{at}", "shuffled:captions", "gate")
    (board,) = leaderboard.boards(tmp_path)
    lines = page.section(board, "x")
    rows = [line for line in "\n".join(lines).split("best of 30 rows")[1].splitlines() if line.startswith("| model")]
    assert [line.split()[1] for line in rows[:2]] == ["model14", "model13"]
    assert len(rows) == page.TEN
    assert len("\n".join(lines).splitlines()) < 60


def test_factors_weigh_what_the_board_s_world_gives_them(write_cell, tmp_path):
    board = leaderboard.build(write_cell("sasrec", "id", "id", simulated=True))
    board.facts["dataset_options"] = {"content_weight": 2}
    lines = {tuple(cell.strip() for cell in line.split("|")[1:4]) for line in page.factors(board).splitlines()}
    assert ("named", "colour", "1.00") in lines
    assert ("personal", "personal", "1.15") in lines
    assert ("habit", "next_series", "0.50") in lines


def test_published_numbers_come_with_source_and_confidence_and_are_in_no_board():
    rows = page.reference_rows()
    assert (rows[["paper", "method", "metric", "value", "source", "confidence"]] != "").all(axis=None)
    shown = [[cell.strip() for cell in line.split("|")] for line in page.papers().splitlines()]
    assert any(
        cells[1:4] == ["MicroLens(2309.15379)", "SASRec", "MicroLens-100K"] and cells[5] == "0.0909" for cells in shown
    )
