"""Own files of any form: one log is one dataset, and what was told from the values is said."""

import gzip
import json
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocols.datasets.own_files import CsvFiles, Files
from protocols.errors import UserError
from protocols.progress import Quiet
from protocols.splitting.problem_builder import candidate_flags

T = 1_700_000_000_123  # 2023-11-14T22:13:20.123Z
HEAD = ("user_id", "item_id", "timestamp")
ROWS = [("u1", "a", T), ("u2", "b", T + 1000), ("u1", "b", T + 2000)]


class Heard(Quiet):
    def __init__(self):
        self.lines = []

    def say(self, message):
        self.lines.append(message)


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def load(tmp_path, heard):
    def load(log=None, items=None, **options):
        for name, text in (("log", log), ("items", items)):
            if isinstance(text, str) and "\n" in text:
                (tmp_path / f"{name}.csv").write_text(text)
                text = str(tmp_path / f"{name}.csv")
            if text is not None:
                options.setdefault({"log": "interactions"}.get(name, name), text)
        return Files(**options).load(tmp_path, heard)

    return load


def text(rows, delimiter=",", head=HEAD):
    return "".join(delimiter.join(map(str, row)) + "\n" for row in [head, *rows])


def refused(load, *says, remedy="", **files):
    with pytest.raises(UserError) as caught:
        load(**files)
    assert all(word in str(caught.value) for word in says), str(caught.value)
    assert remedy in caught.value.remedy, caught.value.remedy


# one log, ten forms


def iso(ms, zone=UTC, decimals=3):
    when = datetime.fromtimestamp(ms // 1000, zone)
    offset = when.strftime("%z") if zone is not None else ""
    return when.strftime("%Y-%m-%dT%H:%M:%S") + f".{ms % 1000:03d}".ljust(decimals + 1, "0") + offset


def zstd(path, content):
    with pa.CompressedOutputStream(str(path), "zstd") as sink:
        sink.write(content.encode())
    return str(path)


def forms(folder, rows):
    """The arguments of `Files` for one log in ten forms."""

    def write(name, content):
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(folder / name)

    frame = pd.DataFrame(rows, columns=list(HEAD))
    stamps = pd.to_datetime(frame["timestamp"], unit="ms", utc=True)
    frame.assign(timestamp=stamps.astype("datetime64[ns, UTC]")).to_parquet(folder / "log.parquet")
    half = len(rows) // 2
    for name, part in (("s0.csv", rows[:half] or rows), ("s1.csv", rows[half:])):
        write(f"shard-{name}", text(part))
    berlin = timezone(timedelta(hours=2))
    with pa.OSFile(str(folder / "log.arrow"), "wb") as sink:
        table = pa.table(
            {"timestamp": [t * 1000 for *_, t in rows], **{c: frame[c].astype("category") for c in HEAD[:2]}}
        )
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    lines = (json.dumps({"user_id": u, "item_id": i, "timestamp": t / 1000}) for u, i, t in rows)
    ns = [(u, i, t * 10**6 + 999_999) for u, i, t in rows]
    nine = [(u, i, f"{t // 1000}.{t % 1000:03d}000999") for u, i, t in rows]
    return {
        "semicolons": {"interactions": write("log.csv", text(rows, ";"))},
        "tabs, ns, zstd": {"interactions": zstd(folder / "log.tsv.zst", text(ns, "\t"))},
        "double colons, gzip": {"interactions": write("log.dat.gz", gzip.compress(text(rows, "::").encode()))},
        "iso, zone": {"interactions": write("iso.csv", text([(u, i, iso(t, berlin)) for u, i, t in rows]))},
        "iso, nine decimals": {"interactions": write("9.csv", text([(u, i, iso(t, UTC, 9)) for u, i, t in rows]))},
        "seconds, nine decimals, no header": {
            "interactions": write("bare.csv", text(nine[1:], head=nine[0])),
            "header": False, "user": "1", "item": "2", "timestamp": "3",
        },
        "parquet, times": {"interactions": str(folder / "log.parquet")},
        "arrow, us": {"interactions": str(folder / "log.arrow")},
        "json lines, float seconds": {"interactions": write("log.jsonl", "\n".join(lines))},
        "shards": {"interactions": str(folder / "shard-*.csv")},
        "pandas": {"interactions": frame},
        "polars, times": {"interactions": pl.DataFrame(frame.assign(timestamp=stamps.dt.tz_localize(None)))},
    }  # fmt: skip


IDS = st.text(st.sampled_from("abz019_ é"), min_size=1, max_size=4).map(lambda s: f"x{s.strip()}")


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(IDS, IDS, st.integers(10**12, T)), min_size=2, max_size=6))
def test_one_log_in_ten_forms_has_one_fingerprint(tmp_path, rows):
    found = {name: Files(**given).load(tmp_path, Quiet()) for name, given in forms(tmp_path, rows).items()}
    expected = found["semicolons"]
    assert expected.interactions["timestamp"].tolist() == sorted({(t, u, i): t for u, i, t in rows}.values())
    assert {name for name, one in found.items() if one.fingerprint != expected.fingerprint} == set()


def test_earlier_csv_datasets_keep_fingerprint_and_options(tmp_path):
    (tmp_path / "log.csv").write_text(text(ROWS))
    (tmp_path / "items.csv").write_text(f"item_id,title,release,duration\na,A,{T},9000\nb,B,{T + 5},9001\n")
    plugin = CsvFiles(interactions=str(tmp_path / "log.csv"), items=str(tmp_path / "items.csv"))
    dataset = plugin.load(tmp_path, Quiet())
    assert (
        dataset.fingerprint == "9e8376cbb419f9b8fe48e45feb300ffe019c1b0a01fe4e80db9f9d42efa8cf58"
    )  # as of version 0.1.0
    assert list(plugin.options()) == [
        "user", "item", "timestamp", "title", "video", "release", "duration", "time_unit", "check_times", "delimiter",
        "unknown_items",
    ]  # fmt: skip
    assert CsvFiles(where="a = 1").options().keys() - plugin.options().keys() == {"where"}
    assert Files(where="a = 1", interactions="x").options() == {"where": "a = 1"}


# forms


def test_the_delimiter_is_said(load, heard):
    load(log=text(ROWS, ";"))
    assert heard.lines[0] == "log.csv: cells are separated by ;"
    heard.lines.clear()
    load(log=text(ROWS))
    assert not any("separated" in line for line in heard.lines)


def test_commas_in_titles_do_not_mislead(load):
    items = "item_id;title\na;one, two, three\nb;four, five, six\n"
    assert load(log=text(ROWS), items=items).items.loc["a", "title"] == "one, two, three"


def test_ids_that_became_floats_beside_an_empty_cell_are_whole_again(load):
    frame = pd.DataFrame({"user_id": [1.0, 2.0], "item_id": [7, 8], "timestamp": [float(T), float(T)]})
    assert load(interactions=frame).interactions["user_id"].tolist() == ["1", "2"]


def test_items_of_a_frame_by_column_or_by_index(load):
    log = pd.DataFrame(ROWS, columns=list(HEAD))
    items = pd.DataFrame({"item_id": ["a", "b"], "title": ["A", None]})
    by_column, by_index = load(interactions=log, items=items), load(interactions=log, items=items.set_index("item_id"))
    assert by_column.items["title"].tolist() == ["A", None] and by_column.fingerprint == by_index.fingerprint


def test_frames_name_the_row(load):
    refused(
        load, "interactions, row 1", "is empty", interactions=pd.DataFrame([ROWS[0], ("", "b", T)], columns=list(HEAD))
    )
    refused(
        load,
        "no column 'timestamp'",
        remedy="files.timestamp",
        interactions=pl.DataFrame({"user_id": [1], "item_id": [1]}),
    )
    nested = pl.DataFrame({"user_id": [["a"]], "item_id": ["b"], "timestamp": [T]})
    refused(load, "'user_id' holds large_list", remedy="one value a row", interactions=nested)


def test_shards_name_their_own_line(load, tmp_path):
    for at, rows in enumerate((ROWS, [*ROWS, ("u", "", T)])):
        (tmp_path / f"p{at}.csv").write_text(text(rows))
    refused(load, "p1.csv, line 5", "item_id", interactions=str(tmp_path / "p*.csv"))
    refused(load, "p1.csv, line 5", interactions=[str(tmp_path / "p0.csv"), str(tmp_path / "p1.csv")])
    refused(load, "named twice", interactions=[str(tmp_path / "p0.csv")] * 2)
    refused(load, "no file fits", interactions=str(tmp_path / "q*.csv"))
    refused(load, "it is a folder", remedy=f"files.interactions={tmp_path}/*", interactions=str(tmp_path))
    (tmp_path / "p2.csv").write_text("user_id,item_id\nu,a\n")
    refused(load, "p2.csv has no column 'timestamp'", interactions=str(tmp_path / "p[02].csv"))


def test_rows_of_json_lines_are_found_past_blank_lines(load, tmp_path):
    row = json.dumps({"user_id": 1, "item_id": "a", "timestamp": T, "tags": ["x"]})
    (tmp_path / "log.jsonl").write_text(f"{row}\n\n" + row.replace('"a"', "null") + "\n")
    refused(load, "log.jsonl, line 3", "item_id", interactions=str(tmp_path / "log.jsonl"))
    (tmp_path / "log.jsonl").write_text(f"{row}\n{{broken\n")
    refused(load, "log.jsonl is not JSON", interactions=str(tmp_path / "log.jsonl"))
    (tmp_path / "log.json").write_text(f"[{row}]")
    refused(load, "one JSON list", remedy="jq", interactions=str(tmp_path / "log.json"))


def test_broken_binary_files_are_refused(load, tmp_path):
    for name, content in (("a.parquet", b"PAR1xxxx"), ("a.arrow", b"ARROW1xx"), ("a.csv.gz", b"\x1f\x8b\x08\x00x")):
        (tmp_path / name).write_bytes(content)
        refused(load, name, interactions=str(tmp_path / name))


def test_a_file_without_a_header_is_recognised(load):
    log = text(ROWS[1:], head=ROWS[0])
    remedy = "--set files.header=false --set files.user=1 --set files.item=2 --set files.timestamp=3"
    refused(load, "line 1", "looks like data", remedy=remedy, log=log)
    assert len(load(log=log, header=False, user="1", item="2", timestamp="3").interactions) == 3
    refused(
        load, "no column '4'; the columns are '1', '2', '3'", log=log, header=False, user="1", item="2", timestamp="4"
    )


def test_encodings(load, tmp_path):
    (tmp_path / "i.csv").write_bytes("item_id,title\na,é\nb,x\n".encode("latin1"))
    assert load(log=text(ROWS), items=str(tmp_path / "i.csv"), encoding="latin1").items.loc["a", "title"] == "é"


# times


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        ("31/05/2024 10:00", 1_717_149_600_000),
        ("31.5.2024", 1_717_113_600_000),
        ("31-05-2024 9:05:07", 1_717_146_307_000),
        ("2024/05/31 10:00:00", 1_717_149_600_000),
    ],
)
def test_dates_with_the_day_first(load, value, ms):
    assert load(log=text([("u", "a", value)]), day_first=True).interactions["timestamp"].tolist() == [ms]


def test_dates_of_two_readings_are_refused(load):
    log = text([("u", "a", "05/06/2024")])
    refused(load, "log.csv, line 2", "two readings", remedy="--set files.day_first=true", log=log)
    assert load(log=log, day_first=False).interactions["timestamp"].tolist() == [1_714_953_600_000]
    refused(load, "line 2", "no ISO 8601 time", log=text([("u", "a", "31/05/2024")]), day_first=False)


def test_each_column_has_its_own_unit_and_it_is_said(load, heard):
    items = "item_id,release,duration\na,2022-04-10,87433.0\nb,,65000\n"
    dataset = load(log=text(ROWS), items=items)
    assert dataset.items.loc["a"].tolist() == [1_649_548_800_000, 87.433] and np.isnan(
        dataset.items.loc["b", "release"]
    )
    assert heard.lines == [
        "log.csv: timestamp: times in ms, 2023-11-14 to 2023-11-14 (another reading: --set files.time_unit=UNIT)",
        "items.csv: release: dates, 2022-04-10 to 2022-04-10 (another reading: --set files.release_unit=UNIT)",
        "items.csv: duration: durations in ms, median 76216.5 (another reading: --set files.duration_unit=UNIT)",
    ]
    assert load(log=text(ROWS), items=items, duration_unit="s").items.loc["a", "duration"] == 87433


def test_durations_of_two_readings_are_refused(load):
    items = "item_id,duration\na,8000\nb,9000\n"
    refused(load, "8.5 s in ms, or 142 minutes in s", remedy="files.duration_unit=ms", log=text(ROWS), items=items)
    assert load(log=text(ROWS), items=items, duration_unit="ms").items.loc["a", "duration"] == 8


def test_mixed_units_are_named(load):
    refused(load, "log.csv, line 3", "mixes units", "looks like s; of 4 rows 1 in s, 3 in ms", remedy="in one unit",
            log=text([ROWS[0], ("u", "a", T // 1000), *ROWS[1:]]))  # fmt: skip
    refused(
        load, "line 3", "is a date, other rows are numbers", log=text([ROWS[0], ("u", "a", "2023-11-14"), *ROWS[1:]])
    )


def test_a_unit_that_cannot_be_told_is_asked_for(load):
    log = text([("u", "a", 5), ("u", "b", 7)])
    refused(load, "line 2", "1970-01-01", remedy="files.check_times=false", log=log)
    refused(load, "cannot be told", remedy="files.time_unit=s", log=log, check_times=False)
    assert load(log=log, check_times=False, time_unit="s").interactions["timestamp"].tolist() == [5000, 7000]


def test_an_unknown_release_is_a_candidate_once_it_was_seen(load):
    log = load(log=text(ROWS), items=f"item_id,release\na,\nb,\nc,{T}\n").indexed_log
    seen = np.array([True, False, False])
    assert candidate_flags(log, "released", seen, T + 1).tolist() == [True, False, True]


# what counts as taken

RATED = "user_id,item_id,timestamp,rating,is_click,note\n" + "".join(
    f"u,{item},{T},{rating},{click},{note}\n"
    for item, rating, click, note in [("a", 5, 1, "x"), ("b", 3.5, 0, "y"), ("c", "", 1, "x"), ("d", 10, "", "")]
)


@pytest.mark.parametrize(
    ("where", "items"),
    [
        ("rating >= 4", "ad"),  # numbers, not text; an empty cell is not taken
        ("is_click == 1", "ac"),
        ("is_click = 1 and rating > 4", "a"),
        ("note in ('x')", "ac"),
        ("rating is null or rating < 4", "bc"),
    ],
)
def test_rows_that_count_as_taken(load, heard, where, items):
    dataset = load(log=RATED, where=where)
    assert "".join(dataset.items.index) == items
    assert dataset.card == (f"Interactions are the {len(items)} of 4 rows with {where}.",)
    assert not any("not used" in line for line in heard.lines)


def test_lines_are_those_of_the_file_when_rows_were_left_out(load):
    refused(
        load,
        "log.csv, line 4",
        "'c'",
        log=RATED,
        items="item_id\na\n",
        where="is_click == 1 and item_id > 'b' or item_id = 'a'",
    )


def test_feedback_that_is_not_used_is_named(load, heard):
    load(log=RATED)
    assert heard.lines[-1] == (
        "log.csv: not used: rating, is_click; every row counts as taken, whatever they say. "
        'To take some rows only: --set files.where="rating >= 4"'
    )


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("rating >=", "no condition"),
        ("1 = 1", "names no column"),
        ("rating", "no truth value"),
        ("sum(rating) > 1", "no truth value"),
        ("note > 4", "does not fit the columns (note String)"),
        ("stars > 4", "no column 'stars'"),
        ("rating > 100", "holds for none of 4 rows"),
        ("__import__('os')", "no condition"),
        ("rating in (select rating from read_csv('{log}'))", "is a query"),
        ("rating > 1; drop table t", "no condition"),
    ],
)
def test_conditions_that_are_none_are_refused(load, tmp_path, where, says):
    refused(load, says, log=RATED, where=where.format(log=tmp_path / "log.csv"))
