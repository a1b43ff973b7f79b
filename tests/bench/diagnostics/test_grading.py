"""The form to fill in and what a filled-in one says."""

import csv

import pytest

from bench.diagnostics import grading
from protocols.errors import DataError

TEXTS = {f"i{k:02d}": f"text {k}" for k in range(30)}


def test_a_sample_is_drawn_once_by_its_seed_and_shorter_ones_are_its_beginning():
    whole = grading.sample(TEXTS, 99, 3)
    assert sorted(whole) == sorted(TEXTS)
    assert grading.sample(reversed(list(TEXTS)), 10, 3) == whole[:10]
    assert grading.sample(TEXTS, 10, 4) != whole[:10]
    assert whole[:10] != sorted(whole[:10])


def test_no_cell_of_the_form_is_a_formula_and_every_text_is_one_line():
    hostile = {"=1+1": '@SUM(A1)\n"quoted", and more', "+x": "-2", "<b>": "\tcmd|' /C calc'!A0"}
    rows = list(csv.DictReader(grading.form(list(hostile), hostile, "captions.text-v1-0").splitlines()))
    assert [row["item_id"] for row in rows] == ["'=1+1", "'+x", "<b>"]
    assert [row["text"] for row in rows] == ['\'@SUM(A1) "quoted", and more', "'-2", "cmd|' /C calc'!A0"]
    assert [row["number"] for row in rows] == ["1", "2", "3"]
    assert tuple(rows[0]) == grading.COLUMNS
    assert all(row[name] == "" for row in rows for name in (*grading.QUESTIONS, "comment"))


@pytest.fixture
def fill(tmp_path):
    """A function that writes the form of 30 texts, filled in, and returns its path; answers by column and number."""

    def fill(answers, delimiter=",", encoding="utf-8-sig", newline="\r\n", change=lambda text: text):
        rows = list(csv.DictReader(grading.form(list(TEXTS), TEXTS, "captions.text-v1-0").splitlines()))
        for name, given in answers.items():
            for row, answer in zip(rows, given, strict=False):
                row[name] = answer
        path = tmp_path / "filled.csv"
        with path.open("w", encoding=encoding, newline="") as out:
            writer = csv.DictWriter(out, grading.COLUMNS, delimiter=delimiter, lineterminator=newline)
            writer.writeheader()
            writer.writerows(rows)
        path.write_bytes(change(path.read_bytes()))
        return path

    return fill


ANSWERS = {
    "objects_wrong": ["1"] * 6 + ["0"] * 14 + [""] * 10,
    "actions_wrong": ["yes", "No", "N", "y"] + ["false"] * 16,
    "text_wrong": ["0"] * 19,
    "usable": ["x"] * 20,
    "comment": ["neither = nor ; , matter"],
}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_shares_are_counted_and_their_intervals_are_wilsons(fill, delimiter):
    statsmodels = pytest.importorskip("statsmodels.stats.proportion")
    (found,) = grading.score(fill(ANSWERS, delimiter))
    assert (found.space, found.rows) == ("captions.text-v1-0", 30)
    counts = {name: (share.yes, share.graded) for name, share in found.questions.items()}
    # any_wrong: rows 1 to 6, of the 19 that are graded on all three kinds; row 4 has two faults and counts once
    assert counts == {
        "objects_wrong": (6, 20),
        "actions_wrong": (2, 20),
        "text_wrong": (0, 19),
        "usable": (20, 20),
        "any_wrong": (6, 19),
    }
    for share in found.questions.values():
        assert share.share == share.yes / share.graded
        expected = statsmodels.proportion_confint(share.yes, share.graded, method="wilson")
        assert (share.low, share.high) == pytest.approx(expected, abs=1e-12)


def test_what_nobody_graded_has_no_share(fill):
    (found,) = grading.score(fill({"usable": ["1", "0"]}))
    assert found.questions["usable"].graded == 2
    assert found.questions["any_wrong"] == grading.Share(0, 0)


def test_files_of_two_spaces_are_summed_up_apart_and_blank_rows_do_not_count(fill):
    path = fill(ANSWERS)
    lines = path.read_text("utf-8-sig").splitlines()
    other = [line.replace("text-v1-0", "text-v1-1") for line in lines[1:]]
    path.write_text("\n".join([*lines, "", ",,,,,,,,", *other]))
    assert [(one.space, one.rows) for one in grading.score(path)] == [
        ("captions.text-v1-0", 30),
        ("captions.text-v1-1", 30),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.replace(b"\r\n3,i02,1", b"\r\n3,i02,perhaps"), "row 4, column objects_wrong: 'perhaps' is"),
        (lambda data: data.replace(b",i02,", b",i01,"), "row 4: item 'i01' stands in row 3 already"),
        (lambda data: data.replace(b",i02,", b",,"), "row 4: no item_id"),
        (lambda data: data.replace(b"text 2", b"text, 2"), "row 4: 10 cells, the header has 9"),
        (lambda data: data.replace(b"objects_wrong", b"objects"), "row 1: no column objects_wrong"),
        (lambda data: data.replace(b",text,space", b",item_id,space"), "row 1: the column item_id stands there twice"),
        (lambda data: data.replace(b"text 2", b'"text" 2'), "row 4: "),
        (lambda data: data.replace(b"text 2", b"te\xffxt"), "is not UTF-8"),
        (lambda data: b"", "row 1: no column item_id"),
    ],
)
def test_what_cannot_be_read_names_file_row_and_remedy(fill, change, message):
    path = fill(ANSWERS, change=change)
    with pytest.raises(DataError) as caught:
        grading.score(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.remedy
    assert caught.value.exit_code == 2


def test_an_empty_form_and_no_file(fill, tmp_path):
    with pytest.raises(DataError, match="nothing is graded"):
        grading.score(fill({}))
    with pytest.raises(DataError, match="cannot be read: No such file"):
        grading.score(tmp_path / "absent.csv")
