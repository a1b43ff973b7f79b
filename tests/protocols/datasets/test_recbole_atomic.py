"""RecBole's atomic files, and the ml-100k that recbole brings along."""

import importlib.machinery
import importlib.util
import subprocess
import sys

import pytest

from protocols.datasets.ml_100k import ML100K
from protocols.datasets.recbole_atomic import Atomic
from protocols.errors import UserError
from protocols.progress import Quiet
from protocols.splitting.presets import Rolling7d

S = 1_600_000_000
INTER = f"user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t01\t3\t{S}\n2\t1\t5\t{S + 1}.5\n"
ITEM = 'item_id:token\ttitle:token_seq\tclass:token_seq\n01\t"Open, quote\tDrama\n1\tOther "x"\t\n'


@pytest.fixture
def root(tmp_path):
    (tmp_path / "own.inter").write_text(INTER)
    (tmp_path / "own.item").write_text(ITEM)
    return tmp_path


def load(root, **options):
    return Atomic(root=str(root), **options).load(root, Quiet())


def refused(root, *says, remedy="", **options):
    with pytest.raises(UserError) as caught:
        load(root, **options)
    assert all(word in str(caught.value) for word in says), str(caught.value)
    assert remedy in caught.value.remedy


def test_atomic_files_are_a_dataset(root):
    dataset = load(root)
    assert dataset.interactions.to_numpy().tolist() == [["1", "01", S * 1000], ["2", "1", S * 1000 + 1500]]
    # quotes mean nothing in these files, and zeros in front of an id do
    assert dataset.items["title"].to_dict() == {"01": '"Open, quote', "1": 'Other "x"'}
    assert dataset.version == "own"


def test_without_item_file_the_items_are_those_of_the_log(root):
    (root / "own.item").unlink()
    assert list(load(root).items.index) == ["01", "1"]


def test_fields_by_option(root):
    (root / "own.inter").write_text(INTER.replace("user_id", "u").replace("item_id", "i").replace("timestamp", "t"))
    (root / "own.item").write_text(ITEM.replace("item_id", "i"))
    dataset = load(root, user="u", item="i", timestamp="t", title="class")
    assert dataset.items["title"].to_dict() == {"01": "Drama", "1": None}
    refused(root, "own.item, line 1", "'name'", remedy="recbole.title", user="u", item="i", timestamp="t", title="name")


def test_missing_fields_and_wrong_units_are_refused(root):
    refused(root, "own.inter, line 1", "no column 'when'", remedy="recbole.timestamp", timestamp="when")
    refused(root, "own.inter, line 2", "looks like s", remedy="recbole.time_unit=s", time_unit="ms")
    (root / "own.inter").write_text(INTER.replace(str(S), str(S * 1000)))
    refused(root, "own.inter, line 2", "looks like ms", remedy="recbole.time_unit=ms")


def test_headers_that_are_not_atomic_are_refused(root):
    (root / "own.inter").write_text(INTER.replace(":token", ""))
    refused(root, "own.inter, line 1", "'user_id'", "field:type", remedy="--dataset files")
    (root / "own.inter").write_text(INTER.replace("\t", ","))
    refused(root, "line 1", "the columns are 'user_id:token,item_id:token,")
    (root / "own.inter").write_text(INTER.replace("rating:float", "user_id:float"))
    refused(root, "two fields are called 'user_id'")


def test_rows_of_another_width_name_the_line(root):
    (root / "own.inter").write_text(INTER + "3\t1\t5\n")
    refused(root, "own.inter, line 4", "3 cells where there are 4", remedy="tabs")


def test_which_files_is_asked_when_there_are_several(root, tmp_path):
    (root / "other.inter").write_text(INTER)
    refused(root, "several", "other, own", remedy="recbole.files=NAME")
    assert load(root, files="own").version == "own"
    refused(root, "no third.inter", files="third")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "no file NAME.inter", remedy="recbole.root")
    with pytest.raises(UserError, match="needs the directory"):
        Atomic().load(root, Quiet())


def test_items_that_the_item_file_lacks(root):
    (root / "own.inter").write_text(INTER + f"3\tx\t5\t{S}\n")
    refused(root, "own.inter, line 4", "'x'", remedy="recbole.unknown_items=drop")
    assert "1 interaction with 1 item " in load(root, unknown_items="drop").card[0]


SEQUENCES = "user_id:token\titem_id:token_seq\ttimestamp:float_seq\nu\t1 01 1\t{0} {1} {2}\nv\t01\t{1}\n"


def test_lists_of_items_are_sequences_of_events(root):
    (root / "own.inter").write_text(SEQUENCES.format(S, S + 1, S + 2))
    assert load(root).interactions.to_numpy().tolist() == [
        ["u", "1", S * 1000], ["u", "01", S * 1000 + 1000], ["v", "01", S * 1000 + 1000], ["u", "1", S * 1000 + 2000],
    ]  # fmt: skip
    (root / "own.inter").write_text(SEQUENCES.format(S, S + 1, "later"))
    refused(root, "own.inter, line 2", "'later' is no number")
    (root / "own.inter").write_text(SEQUENCES.format(S, S + 1, ""))
    refused(root, "own.inter, line 2", "other numbers of entries")


def test_lists_without_times_are_sequences_in_order(root):
    (root / "own.inter").write_text("user_id:token\titem_id:token_seq\nu\t1 01\nv\t01\n")
    dataset = load(root)
    assert not dataset.timed
    assert dataset.interactions.to_numpy().tolist() == [["u", "1", 0], ["v", "01", 0], ["u", "01", 1]]
    (root / "own.inter").write_text("user_id:token\titem_id:token_seq\nu\t1 01\nu\t01\n")
    refused(root, "own.inter, line 3", "'u' has a list already")


def test_lists_that_would_be_dropped_are_refused_with_their_count(root):
    (root / "own.inter").write_text(SEQUENCES.replace("float_seq", "float").format(S, "", ""))
    refused(root, "2 lists of item_id hold 4 events", "one time a list", remedy="float_seq")
    head = "user_id:token\titem_id_list:token_seq\ttags:token_seq\titem_id:token\ttimestamp:float\n"
    (root / "own.inter").write_text(f"{head}u\t1 01\tx y\t1\t{S}\nv\t01\tz\t01\t{S}\n")
    refused(root, "'item_id_list' holds 3 items in 2 lists", remedy="recbole.item=item_id_list")
    assert len(load(root, lists="ignore").interactions) == 2
    assert "lists" not in Atomic().options() and Atomic(lists="ignore").options()["lists"] == "ignore"


def test_ml_100k_is_whole_and_matches_what_is_known(tmp_path):
    plugin = ML100K()
    dataset = plugin.load(tmp_path, Quiet())
    assert dataset.interactions["user_id"].nunique() == 943 and len(dataset.interactions) == 100_000
    assert dataset.items.loc["1", "title"] == "Toy Story"
    assert dataset.items.loc["1", "genres"] == "Animation, Children's, Comedy"
    assert dataset.interactions["timestamp"].iloc[0] == 874_724_710_000
    assert "GroupLens" in dataset.licence and "Harper" in dataset.citation
    assert all(f.ok for f in plugin.inspect(dataset)) and len(plugin.inspect(dataset)) == 5
    folds = Rolling7d().split(dataset)
    assert [fold.info["users"] for fold in folds] == [28, 41, 46, 41]


def test_ml_100k_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="is not installed") as caught:
        ML100K().load(tmp_path, Quiet())
    assert "recbole" in caught.value.remedy
    spec = importlib.machinery.ModuleSpec("recbole", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(UserError, match="lacks it"):
        ML100K().load(tmp_path, Quiet())


def test_listing_datasets_imports_no_reader():
    code = (
        "import sys, protocols.datasets.own_files, protocols.datasets.recbole_atomic, protocols.datasets.ml_100k,"
        " protocols.datasets.microlens;"
        "print({'pandas', 'pyarrow', 'numpy', 'recbole', 'torch'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
