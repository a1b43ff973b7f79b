"""Own csv files: whatever can be wrong in them is handled, or refused with file, line and remedy."""

import csv
import io
import random
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocols.datasets.own_files import CsvFiles
from protocols.errors import DataError, UserError
from protocols.progress import Quiet

T = 1_700_000_000_000  # 2023-11-14
LOG = f"user_id,item_id,timestamp\nu1,a,{T}\nu2,b,{T + 1}\nu1,b,{T + 2}\n"
ITEMS = "item_id,title\na,First\nb,Second\n"


@pytest.fixture
def load(tmp_path):
    def load(log=LOG, items=None, **options):
        for name, content in (("log.csv", log), ("items.csv", items)):
            if content is not None:
                (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        if items is not None:
            options["items"] = str(tmp_path / "items.csv")
        return CsvFiles(interactions=str(tmp_path / "log.csv"), **options).load(tmp_path, Quiet())

    return load


def refused(load, *says, remedy="", **files):
    with pytest.raises(UserError) as caught:
        load(**files)
    for word in says:
        assert word in str(caught.value)
    assert remedy in caught.value.remedy
    return caught.value


def rows(dataset):
    return dataset.interactions.to_numpy().tolist()


# handled


def test_plain_files_are_a_dataset(load):
    dataset = load(items=ITEMS)
    assert rows(dataset) == [["u1", "a", T], ["u2", "b", T + 1], ["u1", "b", T + 2]]
    assert dataset.items["title"].to_dict() == {"a": "First", "b": "Second"}
    assert dataset.timed and dataset.interactions["timestamp"].dtype == np.int64


def test_without_items_file_the_items_are_those_of_the_log(load):
    assert list(load().items.index) == ["a", "b"]


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b"\xef\xbb\xbf" + b,
        lambda b: b.replace(b"\n", b"\r\n"),
        lambda b: b.replace(b"\n", b"\r"),
        lambda b: b.rstrip(b"\n"),
        lambda b: b.replace(b"\n", b"\n\n"),
        lambda b: b.replace(b"user_id,item_id", b" user_id , item_id"),
        lambda b: (
            b"extra,user_id,item_id,timestamp\n" + b"".join(b'"x,""y",' + r + b"\n" for r in b.split(b"\n")[1:-1])
        ),
    ],
    ids=["bom", "crlf", "cr", "no last newline", "blank lines", "spaces in the header", "another column"],
)
def test_ways_to_write_the_same_file_are_the_same_dataset(load, change):
    plain = load(items=ITEMS)
    again = load(log=change(LOG.encode()), items=ITEMS)
    assert again.fingerprint == plain.fingerprint


def test_bom_and_crlf_in_the_items_file_change_nothing(load):
    plain = load(items=ITEMS)
    again = load(items=b"\xef\xbb\xbf" + ITEMS.replace("\n", "\r\n").encode())
    assert again.fingerprint == plain.fingerprint


def test_bare_carriage_returns_and_line_breaks_inside_quotes_stay_in_the_title(load):
    dataset = load(items='item_id,title\r\na,"one\rtwo\nthree, ""four"""\r\nb,x\r\n')
    assert dataset.items["title"].to_dict() == {"a": 'one\rtwo\nthree, "four"', "b": "x"}


def test_lines_are_counted_past_line_breaks_in_quotes(load):
    items = 'item_id,title\na,"1\n2\n3"\n\nb,x\nb,y\n'
    refused(load, "items.csv, line 7", "line 6 already", items=items)


def test_ids_that_differ_only_by_leading_zeros_or_spaces_stay_apart(load):
    log = f"user_id,item_id,timestamp\n7,01,{T}\n007,1,{T}\n 7,1.0,{T}\n7.0,1e0,{T}\n"
    dataset = load(log=log)
    assert set(dataset.interactions["user_id"]) == {"7", "007", " 7", "7.0"}
    assert set(dataset.items.index) == {"01", "1", "1.0", "1e0"}


def test_words_that_other_readers_take_for_missing_are_ids(load):
    log = f"user_id,item_id,timestamp\nNA,null,{T}\nnan,None,{T}\ntrue,#N/A,{T}\n"
    assert set(load(log=log).items.index) == {"null", "None", "#N/A"}


def test_hostile_ids_and_formulas_are_kept_as_text(load):
    ids = ["../../etc/passwd", "a/b", "a.b", "..", "🎬 clip", "=cmd|' /C calc'!A0", "@SUM(A1)", "-1+1", "%2e%2e"]
    log = "user_id,item_id,timestamp\n" + "".join(f"=1+1,{i},{T}\n" for i in ids)
    items = "item_id,title\n" + "".join(f'{i},"=HYPERLINK(""http://x"")"\n' for i in ids)
    dataset = load(log=log, items=items)
    assert set(dataset.items.index) == set(ids)
    assert set(dataset.items["title"]) == {'=HYPERLINK("http://x")'}
    assert set(dataset.interactions["user_id"]) == {"=1+1"}


def test_titles_of_ten_thousand_characters_are_kept_whole(load):
    title = "🎬x," * 2500 + "end"
    assert load(items=f'item_id,title\na,"{title}"\nb,\n').items.loc["a", "title"] == title


def test_empty_titles_are_none(load):
    titles = load(items='item_id,title\na,""\nb,x\n').items["title"]
    assert titles["a"] is None and titles["b"] == "x"


def test_duplicate_rows_are_dropped_and_counted(load):
    dataset = load(log=LOG + LOG.split("\n", 1)[1], items=ITEMS + "a,First\n")
    assert dataset.duplicates == 3 and len(dataset.interactions) == 3
    assert "1 exact duplicates in the items file" in dataset.card[0]


def test_items_without_interactions_stay_in_the_catalogue(load):
    assert list(load(items=ITEMS + "c,Third\n").items.index) == ["a", "b", "c"]


def test_row_order_does_not_matter(load):
    head, *body = LOG.strip().split("\n")
    random.Random(0).shuffle(body)
    assert load(log="\n".join([head, *body])).fingerprint == load(log=LOG).fingerprint


def test_own_column_names_and_delimiter(load):
    dataset = load(
        log=f"who\twhat\twhen\nu\ta\t{T}\n", items="what\tname\na\tx, y\n",
        user="who", item="what", timestamp="when", title="name", delimiter="tab",
    )  # fmt: skip
    assert dataset.items["title"].to_dict() == {"a": "x, y"}


@pytest.mark.parametrize(
    ("unit", "value", "ms"),
    [
        ("ms", "1700000000123", 1_700_000_000_123),
        ("ms", "1700000000123.0", 1_700_000_000_123),
        ("s", "1700000000", 1_700_000_000_000),
        ("s", "1.7e9", 1_700_000_000_000),
        ("s", "1700000000.25", 1_700_000_000_250),
        ("us", "1700000000123999", 1_700_000_000_123),
        ("iso", "2023-11-14T22:13:20.123Z", 1_700_000_000_123),
        ("iso", "2023-11-15T00:13:20+02:00", 1_700_000_000_000),
        ("iso", "2023-11-14 22:13:20", 1_700_000_000_000),
        ("iso", "2023-11-14", 1_699_920_000_000),
    ],
)
def test_time_units(load, unit, value, ms):
    dataset = load(log=f"user_id,item_id,timestamp\nu,a, {value} \n", time_unit=unit)
    assert dataset.interactions["timestamp"].tolist() == [ms]


def test_shifted_times_are_taken_when_that_is_said(load):
    log = "user_id,item_id,timestamp\nu,a,0\nu,b,5\n"
    refused(load, "line 2", "1970-01-01", remedy="csv.check_times=false", log=log)
    assert load(log=log, check_times=False).interactions["timestamp"].tolist() == [0, 5]


def test_release_and_duration(load):
    dataset = load(items=f"item_id,release,duration\na,{T},12.5\nb,{T + 2},\n")
    assert dataset.items["release"].tolist() == [T, T + 2]
    assert dataset.items.loc["a", "duration"] == 12.5 and np.isnan(dataset.items.loc["b", "duration"])
    assert "1 of 3 interactions are older than the release" in dataset.card[0]


# refused


def test_missing_column_names_those_there_are(load):
    refused(load, "log.csv, line 1", "no column 'user_id'", "'user'", remedy="csv.user=NAME", log="user,item_id\nu,a\n")
    log = f"user_id,item_id,time\nu,a,{T}\n"
    refused(load, "no column 'timestamp'", remedy="csv.timestamp=NAME", log=log)
    refused(load, "no column 'name'", remedy="csv.title=NAME", items=ITEMS, title="name")
    refused(load, "items.csv, line 1", "no column 'item_id'", remedy="csv.item=NAME", items="id,title\na,b\n")


def test_column_named_twice_is_refused(load):
    refused(load, "line 1", "'item_id'", log="user_id,item_id,item_id,timestamp\n1,2,3,4\n")


@pytest.mark.parametrize("value", ["yesterday", "", "nan", "inf", "0x10", "1,7", "1 700"])
def test_times_of_the_wrong_type_name_the_line(load, value):
    refused(load, "log.csv, line 5", repr(value), "is no number", log=LOG + f'u3,a,"{value}"\n')


def test_dates_where_numbers_are_expected_name_the_option(load):
    log = "user_id,item_id,timestamp\nu,a,2023-11-14T22:13:20Z\n"
    refused(load, "line 2", remedy="csv.time_unit=iso", log=log)
    refused(load, "line 2", "is a number", remedy="csv.time_unit=ms", log=LOG, time_unit="iso")


def test_dates_that_are_none_name_the_line(load):
    log = "user_id,item_id,timestamp\nu,a,2023-11-14T22:13:20\nu,b,2023-13-45T00:00:00\n"
    refused(load, "line 3", "2023-13-45", remedy="2024-05-31", log=log, time_unit="iso")
    log = "user_id,item_id,timestamp\nu,a,2023-11-14T22:13:20Z\nu,b,2023-11-14T22:13:20\n"
    refused(load, "line 3", "no zone", log=log, time_unit="iso")


@pytest.mark.parametrize(
    ("unit", "value", "right"),
    [("ms", T // 1000, "s"), ("s", T, "ms"), ("us", T, "ms"), ("ms", T * 1000, "us"), ("us", T // 1000, "s")],
)
def test_another_unit_than_said_is_named(load, unit, value, right):
    log = f"user_id,item_id,timestamp\nu,a,{value}\n"
    refused(load, "line 2", f"in {unit}", remedy=f"csv.time_unit={right}", log=log, time_unit=unit)


def test_one_row_in_seconds_among_milliseconds_is_found(load):
    refused(load, "line 5", str(T // 1000), "looks like s", log=LOG + f"u3,a,{T // 1000}\n")


def test_negative_and_far_future_times_are_refused(load):
    refused(load, "line 5", "negative", remedy="correct the row", log=LOG + "u3,a,-5\n")
    tomorrow = int(time.time() * 1000) + 3 * 86_400_000
    refused(load, "line 5", "in the future", log=LOG + f"u3,a,{tomorrow}\n")
    for far in ("99999999999999999999999", "-9300000000000", "1e300"):
        refused(load, "line 5", remedy="calendar", log=LOG + f"u3,a,{far}\n", check_times=False)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"\n\r\n\n", "is empty"),
        (b"user_id,item_id,timestamp\n", "no rows"),
        (LOG.encode("utf-16"), "UTF-16"),
        (b"\x1f\x8b\x08\x00rest", "compressed"),
        (b"PK\x03\x04rest", "spreadsheet"),
    ],
)
def test_files_without_rows_or_text_are_refused(load, content, says):
    refused(load, "log.csv", says, log=content)


def test_absent_file_is_named(tmp_path):
    for place in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(DataError, match="cannot read") as caught:
            CsvFiles(interactions=str(place)).load(tmp_path, Quiet())
        assert str(place) in str(caught.value)
    with pytest.raises(UserError, match="needs a file") as caught:
        CsvFiles().load(tmp_path, Quiet())
    assert "csv.interactions=FILE" in caught.value.remedy


def test_text_that_is_not_utf8_names_the_line(load):
    refused(load, "items.csv, line 3", "not UTF-8", remedy="iconv", items=ITEMS.replace("Second", "é").encode("latin1"))


def test_rows_with_too_many_or_too_few_cells_name_the_line(load):
    refused(
        load, "items.csv, line 3", "3 cells where there are 2", remedy="quotes", items="item_id,title\na,x\nb,y, z\n"
    )
    refused(load, "log.csv, line 5", "2 cells where there are 3", log=LOG + "u3,a\n")


def test_bare_carriage_return_outside_quotes_names_the_line(load):
    refused(load, "items.csv, line 2", "carriage return", remedy="quotes", items="item_id,title\na,x\ry\nb,z\n")


@pytest.mark.parametrize("end", ["", "\n", '\nb,y"z'])
def test_a_quote_that_is_never_closed_is_refused(load, end):
    refused(load, "items.csv, line 3", "never closed", items='item_id,title\nx,y\na,"First\nb,Second' + end)


@pytest.mark.parametrize("bad", ["", "  ", "a\nb", "a\tb", "a\0b", "a\x1b[31m"])
@pytest.mark.parametrize("column", [0, 1])
def test_ids_that_are_empty_or_hold_control_characters_name_the_line(load, bad, column):
    cells = ["u3", "a", str(T)]
    cells[column] = f'"{bad}"'
    refused(load, "log.csv, line 5", ("user_id", "item_id")[column], log=LOG + ",".join(cells) + "\n")


def test_interactions_without_items_are_refused_or_dropped_and_counted(load):
    log = LOG + f"u3,stranger,{T}\nu4,stranger,{T}\n"
    says = ("log.csv, line 5", "'stranger'", "2 such rows of 5, 1 item)")
    refused(load, *says, remedy="unknown_items=drop", log=log, items=ITEMS)
    dataset = load(log=log, items=ITEMS, unknown_items="drop")
    assert len(dataset.interactions) == 3 and "2 interactions with 1 item " in dataset.card[0]


def test_files_that_share_no_id_are_refused_whatever_the_option(load):
    refused(load, "3 such rows of 3", remedy="leading zeros", items="item_id\n0a\n0b\n", unknown_items="drop")


def test_two_different_rows_of_one_item_are_refused(load):
    refused(load, "items.csv, line 4", "'a' is on line 2 already", remedy="one row", items=ITEMS + "a,Other\n")


@pytest.mark.parametrize("value", ["long", "-1", "inf"])
def test_durations_that_are_none_name_the_line(load, value):
    refused(load, "items.csv, line 3", "duration", items=f"item_id,duration\na,1\nb,{value}\n")


# media


@pytest.fixture
def media(tmp_path):
    folder = tmp_path / "media"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret.mp4").write_bytes(b"x")
    for name in ("a.mp4", "sub/b.webm", "a%2Fb.mp4", "notes.txt"):
        (folder / name).write_bytes(b"x")
    return folder


def test_videos_by_id_never_leave_the_folder(load, media):
    ids = ["a", "b", "a/b", "../secret", str(media.parent / "secret"), "notes", "sub/b", "🎬"]
    log = "user_id,item_id,timestamp\n" + "".join(f"u,{i},{T}\n" for i in ids)
    videos = load(log=log, media=str(media)).items["video"].to_dict()
    assert videos.pop("a") == str(media / "a.mp4") and videos.pop("a/b") == str(media / "a%2Fb.mp4")
    assert set(videos.values()) == {None}


def test_links_out_of_the_folder_are_no_videos(load, media):
    (media / "b.mp4").symlink_to(media.parent / "secret.mp4")
    assert load(media=str(media)).items["video"]["b"] is None


def test_videos_by_column(load, media):
    dataset = load(items="item_id,video\na,sub/b.webm\nb,\n", media=str(media))
    assert dataset.items["video"].to_dict() == {"a": str(media / "sub" / "b.webm"), "b": None}


def test_videos_by_address_need_no_folder_and_stand_beside_files(load, media):
    items = "item_id,video\na,s3://bucket/some/a.mp4\nb,{}\n"
    only = load(items=items.format("https://host.example/b.mp4?v=1")).items["video"]
    assert only.to_dict() == {"a": "s3://bucket/some/a.mp4", "b": "https://host.example/b.mp4?v=1"}
    both = load(items=items.format("a.mp4"), media=str(media)).items["video"]
    assert both.to_dict() == {"a": "s3://bucket/some/a.mp4", "b": str(media / "a.mp4")}
    refused(load, "csv.media is not given", items=items.format("b.mp4"))


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://host/b.mp4", "https://me:pw@host/b", "s3:///b.mp4"])
def test_other_addresses_of_videos_are_refused_by_row(load, media, address):
    items = f"item_id,video\na,a.mp4\nb,{address}\n"
    refused(load, "items.csv, line 3", "is no address of a video", remedy="https://", items=items, media=str(media))


@pytest.mark.parametrize(
    "name", ["../secret.mp4", "sub/../../secret.mp4", "{root}/secret.mp4", "link.mp4", ".", "a\0b"]
)
def test_names_that_lead_out_of_the_folder_are_refused(load, media, name):
    (media / "link.mp4").symlink_to(media.parent / "secret.mp4")
    items = f'item_id,video\na,a.mp4\nb,"{name.format(root=media.parent)}"\n'
    refused(load, "items.csv, line 3", "lies outside of", remedy="relative", items=items, media=str(media))


def test_two_videos_of_one_item_are_refused(load, media):
    (media / "a.webm").write_bytes(b"x")
    refused(load, "a.mp4 and a.webm", media=str(media))


def test_media_that_cannot_be_found_is_said(load, media):
    refused(load, "is not a folder", remedy="csv.media=FOLDER", media=str(media / "absent"))
    refused(load, "csv.media is not given", remedy="csv.media=FOLDER", items="item_id,video\na,a.mp4\nb,b.mp4\n")


def test_wrong_delimiter_is_said(load):
    refused(load, "no column 'user_id'", log=LOG.replace(",", ";"))
    refused(load, "csv.delimiter", delimiter='"')


def test_where_files_lie_is_no_part_of_what_they_are(load, tmp_path):
    load()
    options = CsvFiles(interactions=str(tmp_path / "log.csv"), time_unit="s").options()
    assert options["time_unit"] == "s" and not {"interactions", "items", "media"} & set(options)


# round trips

IDS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8).filter(
    lambda s: s.strip(" ") != ""
)
TITLES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    items=st.dictionaries(IDS, TITLES, min_size=1, max_size=5),
    users=st.lists(IDS, min_size=1, max_size=4),
    end=st.sampled_from(["\n", "\r\n"]),
    all_quoted=st.booleans(),
)
def test_any_ids_and_titles_survive_a_csv_file(tmp_path, items, users, end, all_quoted):
    def write(name, header, lines):
        text = io.StringIO(newline="")
        # Python's writer leaves a lone carriage return outside quotes when lines end with a line feed
        bare = any("\r" in str(cell) for line in lines for cell in line)
        quoting = csv.QUOTE_ALL if all_quoted or bare else csv.QUOTE_MINIMAL
        writer = csv.writer(text, lineterminator=end, quoting=quoting)
        writer.writerows([header, *lines])
        Path(tmp_path, name).write_bytes(text.getvalue().encode())
        return str(tmp_path / name)

    events = [(u, i, T + n) for n, (u, i) in enumerate((u, i) for u in users for i in items)]
    dataset = CsvFiles(
        interactions=write("log.csv", ("user_id", "item_id", "timestamp"), events),
        items=write("items.csv", ("item_id", "title"), list(items.items())),
    ).load(tmp_path, Quiet())
    assert [tuple(row) for row in rows(dataset)] == events
    assert dataset.items["title"].to_dict() == {item: title or None for item, title in items.items()}
