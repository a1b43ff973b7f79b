"""Packs of finished boards: what they hold, what is refused, and reruns."""

import hashlib
import io
import json
import os
import shutil
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml

import bench as api
from bench import records, registry
from bench.boards import leaderboard
from bench.publishing import pack_check, pack_users, packs, publish, rerun, submit
from protocols.errors import DataError, UserError
from protocols.progress import Quiet

REPOSITORY = Path(__file__).parents[3]
QUICK = {"protocol": {"folds": 2}, "random": {"dim": 8}}


@pytest.fixture(scope="module")
def home(tiny_world, tmp_path_factory):
    """Folders of a run of two rows, one of them under two seeds, and its pack."""
    home = tmp_path_factory.mktemp("submit")
    places = {"cache": home / "cache", "results": home / "results"}
    api.grid(["content-mean", "pop"], ["random"], dataset="tiny", seeds=2, options=QUICK, jobs=1, **places)
    submit.submit(home / "results", home / "pack.zip", "bench submit", authors=["A. Name"], note="a test")
    names = registry.names
    with pytest.MonkeyPatch.context() as patch:  # commands look its name up among entry points
        patch.setattr(registry, "names", lambda kind: {**names(kind), **({"tiny": None} if kind == "dataset" else {})})
        yield home


@pytest.fixture
def contents(home):
    """The files of the pack, to be changed by a test."""
    return packs.read(home / "pack.zip")


def renewed(contents):
    """The files with hashes that fit them: whoever changes a pack can do that."""
    manifest = json.loads(contents[packs.MANIFEST])
    manifest["files"] = {
        name: hashlib.sha256(content).hexdigest() for name, content in contents.items() if name != packs.MANIFEST
    }
    return {**contents, packs.MANIFEST: packs.as_bytes(manifest)}


def faults(contents, tmp_path):
    packs.write(tmp_path / "changed.zip", contents)
    return pack_check.check(tmp_path / "changed.zip").faults


def name_of(contents, cell="content-mean_random", seed=1, fold=0, ending=".json"):
    (name,) = (n for n in contents if f"/{cell}" in n and f"/s{seed}-f{fold}-" in n and n.endswith(ending))
    return name


def edited(contents, name, change):
    record = json.loads(contents[name])
    change(record)
    return {**contents, name: packs.as_bytes(record)}


def column_changed(contents, name, column, change):
    users = pack_users.from_csv(contents[name])
    users[column] = change(users[column])
    return {**contents, name: pack_users.as_csv(users)}


def rehashed(contents, name):
    """The record with hashes and means that fit its changed users."""
    users = pack_users.from_csv(contents[f"{name}.csv"])

    def change(record):
        record["users_digest"] = records.column_digests(users)
        record["metrics"] |= {one: float(users[one].mean()) for one in pack_users.VALUES if users[one].notna().any()}

    return renewed(edited(contents, f"{name}.json", change))


def test_a_pack_holds_and_says_what_is_in_it(home, bench):
    found = pack_check.check(home / "pack.zip")
    assert found.faults == []
    assert len(found.entries) == 2 * 2 + 2
    (board,) = found.boards
    (local,) = leaderboard.boards(home / "results")
    assert board.id == local.id and [row.label for row in board.rows] == [row.label for row in local.rows]
    assert found.manifest["authors"] == ["A. Name"] and found.manifest["note"] == "a test"
    assert any("2 seeds, no p" in note for note in found.notes)
    done = bench("verify", home / "pack.zip", "--table")
    assert (
        done.exit_code == 0
        and "metrics of 6 of 6 records recomputed from ranks" in done.stdout
        and f'"id": "{local.id}"' in done.stdout
    )


def test_the_same_results_give_the_same_bytes_and_real_users_have_names_of_the_pack(home, tmp_path):
    submit.submit(home / "results", tmp_path / "again.zip", "bench submit", authors=["A. Name"], note="a test")
    assert (tmp_path / "again.zip").read_bytes() == (home / "pack.zip").read_bytes()
    publish.publish(home / "results", tmp_path / "boards")
    entries = pack_check.check(home / "pack.zip").entries
    users = [set(frame["user_id"]) for record, frame in entries.values() if record.fold == 0]
    raw = {user for path in records.find(home / "results") for user in records.users(path)["user_id"]}
    published = {user for path in records.find(tmp_path / "boards") for user in records.users(path)["user_id"]}
    assert all(one == users[0] for one in users)
    assert not users[0] & raw and not users[0] & published
    assert str(home) not in "".join(content.decode() for content in packs.read(home / "pack.zip").values())


def test_a_value_of_a_metric_that_was_changed_is_refused(contents, tmp_path):
    name = name_of(contents)
    changed = edited(contents, name, lambda record: record["metrics"].update({"ndcg@10": 0.9}))
    assert any(one.startswith(f"{name}: changed after") for one in faults(changed, tmp_path))
    (fault, *_) = faults(renewed(changed), tmp_path)
    assert fault.startswith(name.replace(".json", ".csv")) and "the mean of 'ndcg@10'" in fault
    assert "content-mean random replace, seed 1, fold 0" in fault
    other = renewed(edited(contents, name, lambda record: record["metrics"].update({"recall@20": 0.9})))
    assert "metrics.recall@20 is 0.9, the ranks of the targets give" in faults(other, tmp_path)[0]


def test_a_value_of_a_user_that_was_changed_is_refused_even_with_new_hashes_and_means(contents, tmp_path):
    name = name_of(contents).removesuffix(".json")
    changed = column_changed(contents, f"{name}.csv", "ndcg@10", lambda values: values.where(values > 0, 1))
    (fault, *_) = faults(renewed(changed), tmp_path)
    assert fault.startswith(f"{name}.csv") and "'ndcg@10' is not what the record was written with" in fault
    (fault, *_) = faults(rehashed(changed, name), tmp_path)
    assert fault.startswith(f"{name}.csv") and "line" in fault and "not what the ranks of the targets give" in fault


def test_a_record_that_was_removed_is_refused(contents, tmp_path):
    name = name_of(contents).removesuffix(".json")
    less = {one: content for one, content in contents.items() if not one.startswith(name)}
    assert f"{name}.json: listed in pack.json, not in the pack" in faults(less, tmp_path)
    found = faults(renewed(less), tmp_path)
    assert any("content-mean random replace cannot be ranked: 1 result missing (seed 1 fold 0)" in one for one in found)
    without = {one: content for one, content in contents.items() if one != f"{name}.csv"}
    assert f"its users, {name}.csv, are not in the pack" in faults(renewed(without), tmp_path)[0]


def test_a_seed_that_is_another_one_s_is_refused(contents, tmp_path):
    changed = dict(contents)
    for fold in (0, 1):
        old = name_of(contents, seed=1, fold=fold).removesuffix(".json")
        gone = name_of(contents, seed=2, fold=fold).removesuffix(".json")
        record = json.loads(contents[f"{old}.json"]) | {"seed": 2}
        new = old.replace("/s1-", "/s2-")
        for ending in (".json", ".csv"):
            del changed[f"{gone}{ending}"]
        changed |= {f"{new}.json": packs.as_bytes(record), f"{new}.csv": contents[f"{old}.csv"]}
    found = faults(renewed(changed), tmp_path)
    assert any(one.endswith("seed 2 holds the values of seed 1, user by user") for one in found)
    assert any(
        "/s2-f0-" in one and "key" in one and "content-mean random replace, seed 2, fold 0" in one for one in found
    )


def test_options_of_a_row_that_were_changed_are_refused(contents, tmp_path):
    changed = dict(contents)
    for name in [one for one in contents if "/content-mean_random" in one and one.endswith(".json")]:
        record = json.loads(changed.pop(name))
        record["cell"]["options"]["model"]["dim"] = 8
        new = packs.name_of(records.parsed(record))
        changed |= {f"{new}.json": packs.as_bytes(record), f"{new}.csv": changed.pop(name.replace(".json", ".csv"))}
    found = faults(renewed(changed), tmp_path)
    assert len(found) == 4 and all("is not that of its cell with all options" in one for one in found)
    record = edited(contents, name_of(contents), lambda one: one["cell"]["options"]["model"].update(dim=8))
    assert "cell, seed, fold and key of this record belong into" in faults(renewed(record), tmp_path)[0]


def test_a_table_or_a_board_that_was_edited_is_refused(contents, tmp_path):
    table, board = (next(one for one in contents if one.endswith(end)) for end in (packs.TABLE, packs.BOARD))
    row = json.loads(contents[board])["rows"][0]
    value = f"{row['mean']['ndcg@10']:.4f}".encode()
    (fault,) = faults(renewed({**contents, table: contents[table].replace(value, b"0.9999", 1)}), tmp_path)
    assert fault.startswith(f"{table}, line 7: table:") and "0.9999" in fault
    (fault,) = faults(renewed({**contents, table: b"nothing"}), tmp_path)
    assert fault.startswith(table) and "holds no table" in fault and str(tmp_path) not in fault
    (fault,) = faults(renewed({**contents, table: contents[table].replace(b"2 folds", b"9 folds")}), tmp_path)
    assert fault == f"{table}: the text around the table is not what bench writes"
    edit = json.loads(contents[board])
    edit["rows"][0]["high"]["ndcg@10"] = 0.99
    (fault,) = faults(renewed({**contents, board: packs.as_bytes(edit)}), tmp_path)
    assert fault.startswith(f"{board}: rows.0.high.ndcg@10 is 0.99, the records give")


def test_users_that_were_swapped_are_refused(contents, tmp_path):
    name = name_of(contents).removesuffix(".json")
    users = pack_users.from_csv(contents[f"{name}.csv"])
    at = int(np.argmax(users["n_history"].to_numpy() != users["n_history"][0]))

    def swap(column):
        values = list(column)
        values[0], values[at] = values[at], values[0]
        return values

    names = column_changed(contents, f"{name}.csv", "user_id", swap)
    assert "column 'user_id' is not what the record was written with (hash)" in faults(renewed(names), tmp_path)[0]
    found = faults(rehashed(names, name), tmp_path)
    assert any("'user_id' is not that of" in one and "all rows of a fold have the same users" in one for one in found)
    lines = contents[f"{name}.csv"].decode().splitlines()
    (first, *one), (other, *two) = lines[1].split(","), lines[at + 1].split(",")
    lines[1], lines[at + 1] = ",".join([first, *two]), ",".join([other, *one])
    rows = {**contents, f"{name}.csv": "\n".join(lines).encode()}
    found = faults(rehashed(rows, name), tmp_path)
    assert any("is not that of" in one and "content-mean" in one for one in found)


def test_facts_that_contradict_each_other_are_refused(contents, tmp_path):
    data, counts, twice = (name_of(contents, seed=seed, fold=fold) for seed, fold in ((2, 0), (2, 1), (1, 0)))
    changed = edited(contents, data, lambda record: record["dataset"].update(fingerprint="0" * 64))
    changed = edited(changed, counts, lambda record: record["fold_info"].update(targets=1))
    other = f"{twice.rpartition('/')[0]}/s1-f0-zz"
    changed[f"{other}.csv"] = contents[twice.replace(".json", ".csv")]
    changed[f"{other}.json"] = packs.as_bytes({**json.loads(contents[twice]), "key": "zz"})
    found = faults(renewed({**changed, "more.txt": b"x"}), tmp_path)
    for name, fault in (
        (data, "dataset.fingerprint is '0000"),
        (counts.replace(".json", ".csv"), "targets, fold_info says 1"),
        (f"{other}.json", "the same cell, seed and fold as"),
        ("more.txt", "of no record and no board in this pack"),
    ):
        assert any(one.startswith(name) and fault in one for one in found)
    manifest = json.loads(contents[packs.MANIFEST])
    manifest["boards"][0]["rows"][0]["command"] = "rm -rf /"
    changed = {**contents, packs.MANIFEST: packs.as_bytes(manifest)}
    assert "rows is not what the records say" in faults(changed, tmp_path)[0]


def written(home, path, change):
    """A pack of records that `change` has changed, with all hashes and boards that follow from them."""
    entries = {}
    for record, users in pack_check.check(home / "pack.zip").entries.values():
        content, users = records.as_json(record), users.copy()
        change(content, users)
        content["users_digest"] = records.column_digests(users)
        made = records.parsed(content)
        entries[packs.name_of(made)] = made, users
    boards, contents = submit.contents_of(entries)
    manifest = submit.manifest_of(contents, entries, boards, {"command": "", "authors": [], "note": ""})
    packs.write(path, {**contents, packs.MANIFEST: packs.as_bytes(manifest)})
    return path


def rebuilt(home, tmp_path, change):
    """Faults of a pack that is written like any other, from records that `change` has changed."""
    return pack_check.check(written(home, tmp_path / "changed.zip", change)).faults


def test_a_pack_that_was_made_anew_from_changed_records_is_refused(home, tmp_path):
    def dim(record, users):
        if record["cell"]["extractor"] == "random":
            record["cell"]["options"]["model"]["dim"] = 9

    def without_ranks(record, users):
        if record["cell"]["extractor"] == "random":
            users.drop(columns="target_rank", inplace=True)

    def real(record, users):  # tiny is another dataset, which verify knows as simulated
        record["cell"]["dataset"] = record["dataset"]["name"] = "demo"
        record["simulated"] = False

    assert rebuilt(home, tmp_path, lambda *_: None) == []
    assert "is not that of its cell with all options" in rebuilt(home, tmp_path, dim)[0]
    assert "columns other than those of" in rebuilt(home, tmp_path, without_ranks)[0]
    assert "simulated is False, that of demo True" in rebuilt(home, tmp_path, real)[0]


def test_a_pack_without_ranks_proves_nothing(home, tmp_path, bench):
    def drop(record, users):
        users.drop(columns=list(pack_users.LISTS), inplace=True)

    def drop_of_a_fold(record, users):
        if record["fold"] == 0:
            drop(record, users)

    done = bench("verify", written(home, tmp_path / "none.zip", drop))
    assert (
        done.exit_code == 2 and "no ranks of targets in any of its 6 records" in done.stdout and "try: " in done.stdout
    )
    assert bench("verify", tmp_path / "none.zip", home / "pack.zip").exit_code == 2
    done = bench("verify", written(home, tmp_path / "half.zip", drop_of_a_fold))
    assert done.exit_code == 0 and "metrics of 3 of 6 records recomputed from ranks" in done.stdout
    assert "note: metrics of 3 of 6 records could not be recomputed: no ranks of targets" in done.stdout


def test_published_copies_hold_no_ranks_and_are_not_submitted(home, tmp_path, bench):
    publish.publish(home / "results", tmp_path / "boards")
    done = bench("submit", "-o", tmp_path / "x.zip", "--results", tmp_path / "boards")
    assert done.exit_code == 2 and "holds ranks of targets" in done.stderr and not (tmp_path / "x.zip").exists()


def test_the_same_records_under_the_name_of_another_dataset_are_refused(home, tmp_path, bench):
    def cell_alone(record, users):
        record["cell"]["dataset"] = "other"

    def both(record, users):
        cell_alone(record, users)
        record["dataset"]["name"] = "other"

    (fault, *_) = pack_check.check(written(home, tmp_path / "cell.zip", cell_alone)).faults
    print_of = next(iter(pack_check.check(home / "pack.zip").entries.values()))[0].dataset["fingerprint"]
    assert f"a cell of dataset 'other', and made from dataset 'tiny' with fingerprint {print_of}" in fault
    done = bench("verify", home / "pack.zip", written(home, tmp_path / "both.zip", both))
    assert done.exit_code == 1
    assert f"dataset 'other', whose fingerprint {print_of} is that of 'tiny'" in done.stdout


def test_published_boards_know_the_names_of_their_data(home, tmp_path):
    publish.publish(home / "results", tmp_path)
    (content,) = pack_check.published_names(tmp_path)
    assert pack_check.check(home / "pack.zip", {content: "another"}).faults
    assert not pack_check.check(home / "pack.zip", pack_check.published_names(tmp_path)).faults


def test_the_model_and_not_the_record_says_if_seeds_differ(home, tmp_path):
    first = {}

    def copied(record, users):
        if record["cell"]["extractor"] == "random":
            record["cell"] |= {"model": "sasrec", "extractor": "id", "fusion": "id"}
            record["training"] = {}
            known = first.setdefault(record["fold"], users)
            users[list(pack_users.COLUMNS)] = known[list(pack_users.COLUMNS)]

    assert any("seed 2 holds the values of seed 1" in one for one in rebuilt(home, tmp_path, copied))


def test_what_another_reader_would_see_otherwise_is_refused(home, contents, tmp_path):
    record, users = name_of(contents), name_of(contents, ending=".csv")
    twice = contents[record].replace(b'"metrics": {', b'"metrics": {"ndcg@10": 0.9},\n "metrics": {', 1)
    assert "the key 'metrics' twice" in faults(renewed({**contents, record: twice}), tmp_path)[0]
    head, *lines = contents[users].decode().splitlines()
    longer = "\n".join([head, *(f"hidden,{line}" for line in lines)]).encode()
    assert "more values than there are columns" in faults(renewed({**contents, users: longer}), tmp_path)[0]
    manifest = json.loads(contents[packs.MANIFEST])
    manifest["boards"] = [{**manifest["boards"][0], "id": "0" * 16}, *manifest["boards"]]
    again = {**contents, packs.MANIFEST: packs.as_bytes(manifest)}
    assert any("is described twice" in one for one in faults(again, tmp_path))
    pack = (home / "pack.zip").read_bytes()
    for changed in (pack + b"more", b"#!/bin/sh\n" + pack):
        (tmp_path / "more.zip").write_bytes(changed)
        with pytest.raises(DataError, match="belong to none of its files"):
            packs.read(tmp_path / "more.zip")
    with pytest.raises(DataError, match="not a file"):
        packs.read(Path(os.devnull))


HOSTILE = {
    "pickle": b"\x80\x04\x95pickle.", "deep": b'{"a":' * 100_000, "overflow": b'{"seed": 1e999}',
    "nan": b'{"seed": NaN}', "list": b"[]", "long number": b"9" * 10_000, "no text": b"\xff\xfe",
}  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_json_of_ours_is_no_record_and_no_manifest(tmp_path, text):
    with pytest.raises(ValueError):
        packs.record_of(text)
    with pytest.raises(DataError, match=r"pack\.json"):
        packs.manifest_of({packs.MANIFEST: text}, tmp_path / "x.zip")


def test_files_that_hold_no_record_no_users_and_no_board_are_named(contents, tmp_path):
    record, users = name_of(contents), name_of(contents, seed=2, ending=".csv")
    (first, *_) = faults(renewed({**contents, record: HOSTILE["pickle"], users: HOSTILE["no text"]}), tmp_path)
    assert first.startswith(f"{record}: ")
    found = faults(renewed({**contents, users: HOSTILE["no text"]}), tmp_path)
    assert found[0].startswith(f"{users} (content-mean random replace, seed 2, fold 0): ")
    board = next(one for one in contents if one.endswith(packs.BOARD))
    assert faults(renewed({**contents, board: HOSTILE["deep"]}), tmp_path)[0].startswith(f"{board}: ")


@pytest.mark.parametrize(
    ("column", "value"),
    [("ndcg@10", "inf"), ("ndcg@10", "-1"), ("ndcg@10", ""), ("n_targets", "1e9"), ("n_lists", "2147483647"),
     ("n_targets", "9" * 50), ("target_rank", "9" * 5000), ("target_rank", "-3"), ("target_rank", "x"),
     ("target_rank", "1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1")],
)  # fmt: skip
def test_numbers_that_no_metric_has_are_refused(contents, column, value):
    lines = contents[name_of(contents, ending=".csv")].decode().splitlines()
    cells = lines[1].split(",")
    cells[lines[0].split(",").index(column)] = value
    with pytest.raises((ValueError, OverflowError)):
        pack_users.from_csv("\n".join([lines[0], ",".join(cells), *lines[2:]]).encode())


def zipped(path, *members, **more):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, mode in members:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, more.get("packed", zipfile.ZIP_DEFLATED)
            archive.writestr(info, content)
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "names",
    [["../x.json"], ["/etc/x"], ["a/../../x"], ["a\\..\\x"], ["c:/x"], ["a//b"], ["a/"], ["a", "a"], ["."], ["a/\n"]],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path, names):
    path = zipped(tmp_path / "x.zip", *((name, b"", stat.S_IFREG) for name in names))
    with pytest.raises(DataError, match="is not that of a file in a pack"):
        packs.read(path)


def test_links_other_compressions_and_bombs_are_refused(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="a link"):
        packs.read(zipped(tmp_path / "link.zip", ("pack.json", b"/etc/passwd", stat.S_IFLNK)))
    with pytest.raises(DataError, match="otherwise than by deflate"):
        packs.read(zipped(tmp_path / "lzma.zip", ("pack.json", b"x", stat.S_IFREG), packed=zipfile.ZIP_LZMA))
    monkeypatch.setattr(packs, "FILE_BYTES", 10_000)
    bomb = zipped(tmp_path / "bomb.zip", ("pack.json", b"0" * 20_000, stat.S_IFREG))
    with pytest.raises(DataError, match=r"pack\.json: larger than 10000 bytes"):
        packs.read(bomb)
    content = bomb.read_bytes()
    liar = tmp_path / "liar.zip"  # says that it is small, in both of its headers
    liar.write_bytes(content.replace((20_000).to_bytes(4, "little"), (100).to_bytes(4, "little")))
    with pytest.raises(DataError, match="is no pack"):
        packs.read(liar)
    monkeypatch.setattr(packs, "ALL_BYTES", 15_000)
    with pytest.raises(DataError, match="15000 bytes in it"):
        packs.read(zipped(tmp_path / "many.zip", *((f"{at}.csv", b"0" * 9_000, stat.S_IFREG) for at in range(2))))
    monkeypatch.setattr(packs, "PACK_BYTES", 10)
    with pytest.raises(DataError, match="larger than 10 bytes"):
        packs.read(bomb)


def test_what_is_no_pack_exits_with_1_and_what_cannot_be_packed_with_2(bench, tmp_path, home):
    for content in (b"", b"no zip", zipfile_of({"a.csv": b""})):
        (tmp_path / "x.zip").write_bytes(content)
        done = bench("verify", tmp_path / "x.zip", tmp_path / "absent.zip", home / "pack.zip")
        assert done.exit_code == 1 and done.stdout.count("REFUSED") == 2 and "ok " in done.stdout
    env = {"BENCH_RESULTS": str(tmp_path / "empty"), "BENCH_CACHE": str(tmp_path / "cache")}
    assert bench("submit", "-o", tmp_path / "x.zip", env=env).exit_code == 2
    assert bench("submit", "-o", tmp_path / "x.tar", env=env).exit_code == 2
    assert bench("verify", home / "pack.zip", "--seed", "3").exit_code == 2


def zipfile_of(contents):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return out.getvalue()


def test_rows_that_are_not_ranked_are_left_out_and_named(home, tmp_path, bench):
    shutil.copytree(home / "results", tmp_path / "results")
    next(path for path in records.find(tmp_path / "results") if "content-mean_random" in str(path)).unlink()
    done = bench("submit", "-o", tmp_path / "less.zip", "--results", tmp_path / "results")
    assert "left out, not ranked: content-mean random replace: 1 result missing" in done.stdout
    assert len(pack_check.check(tmp_path / "less.zip").entries) == 2
    for path in records.find(tmp_path / "results"):
        path.unlink() if path.stem.startswith(("s1-f0", "s0-f0")) else None
    with pytest.raises(UserError, match="no complete row"):
        submit.submit(tmp_path / "results", tmp_path / "none.zip", "")


def test_drawn_rows_are_made_again_within_a_tolerance(home, tmp_path, bench, contents):
    cache = ("--cache", home / "cache")
    done = bench("verify", home / "pack.zip", "--rerun", "2", "--seed", "3", *cache)
    lines = [line for line in done.stdout.splitlines() if "rerun" in line]
    assert done.exit_code == 0 and len(lines) == 2 * 2 * 2 and all(line.startswith("  ok  rerun") for line in lines)
    entries = pack_check.check(home / "pack.zip").entries
    assert rerun.drawn(entries, 2, 3) == rerun.drawn(entries, 2, 3) != rerun.drawn(entries, 2, 4)

    invented = dict(entries)
    for name in rerun.drawn(entries, 1, 3)[0]:
        content = records.as_json(entries[name][0])
        content["metrics"] = {metric: value and value + 0.01 for metric, value in content["metrics"].items()}
        invented[name] = records.parsed(content), entries[name][1]
    made = rerun.rerun(invented, rerun.drawn(invented, 1, 3)[0], home / "cache", {}, Quiet(), tolerance=0.005)
    assert len(made) == 4 and not any(one.ok for one in made)

    wild = dict(entries)  # invented seeds, as far apart as one likes, buy no more than a quarter of the value
    for at, (record, users) in entries.items():
        content = records.as_json(record)
        content["metrics"] = {metric: value and value * record.seed for metric, value in content["metrics"].items()}
        wild[at] = records.parsed(content), users
    for one in rerun.rerun(wild, rerun.drawn(wild, 1, 3)[0], home / "cache", {}, Quiet()):
        assert one.tolerance <= max(rerun.MOST * one.said, rerun.FLOOR)


def test_the_command_of_a_row_makes_it_again(home, tmp_path, bench, contents):
    (board,) = json.loads(contents[packs.MANIFEST])["boards"]
    (row,) = (one for one in board["rows"] if one["row"] == "content-mean random replace")
    words = row["command"].split()[1:]
    done = bench(*words, "--cache", home / "cache", "--results", tmp_path / "again", "--jobs", "1")
    assert done.exit_code == 0
    keys = {path.stem for path in records.find(tmp_path / "again")}
    assert keys == {
        name.rpartition("/")[2][:-5] for name in contents if "/content-mean_random" in name and name.endswith("json")
    }


def test_data_that_are_not_here_are_no_fault_of_the_pack(home, tmp_path, bench):
    entries = pack_check.check(home / "pack.zip").entries
    moved = {}
    for name, (record, frame) in entries.items():
        content = records.as_json(record)
        content["cell"] |= {"dataset": "microlens", "options": {**content["cell"]["options"], "dataset": {}}}
        moved[name] = records.parsed(content), frame
    with pytest.raises(UserError) as found:
        rerun.rerun(moved, rerun.drawn(moved, 1, 0)[0], tmp_path, {}, Quiet())
    assert rerun.absent(found.value)


@pytest.mark.parametrize(
    "spec", ["published:/home/me/v.npy", "concat:titles+published:~/me/v.npy", "shuffled:/me/v.npy"]
)
def test_a_pack_holds_no_folder_of_a_file_that_an_extractor_was_given(home, tmp_path, spec):
    shutil.copytree(home / "results", tmp_path / "results")
    for path in records.find(tmp_path / "results"):
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, "passed": {"extractor": spec, "at": "http://host/v1"}}))
    submit.submit(tmp_path / "results", tmp_path / "x.zip", "")
    text = "".join(content.decode() for content in packs.read(tmp_path / "x.zip").values())
    assert "/me" not in text and "v.npy" in text and "http://host/v1" in text


def test_a_rerun_calls_no_address_of_a_pack(home, tmp_path):
    entries = {}
    for name, (record, frame) in pack_check.check(home / "pack.zip").entries.items():
        content = records.as_json(record)
        content["cell"] = {**content["cell"], "extractor": "captions[engine=openai,endpoint=http://127.0.0.1:9/v1]"}
        entries[name] = records.parsed(content), frame
    with pytest.raises(UserError, match="names an address"):
        rerun.rerun(entries, rerun.drawn(entries, 1, 0)[0], home / "cache", {}, Quiet())


def test_committed_submissions_hold():
    found = sorted((REPOSITORY / "results" / "submissions").glob("*.zip"))
    checked = [pack_check.check(path) for path in found]
    assert [one.faults for one in checked] == [[]] * len(found)
    assert all(one.unproven < len(one.entries) for one in checked)


def test_the_workflow_and_the_templates_are_yaml():
    found = sorted((REPOSITORY / ".github").rglob("*.yml"))
    assert found and all(yaml.safe_load(path.read_text()) for path in found)
