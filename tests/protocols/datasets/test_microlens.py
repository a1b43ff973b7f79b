"""MicroLens by its official file names, on synthetic files of the same shape."""

import pytest

from protocols.datasets import microlens
from protocols.datasets.microlens import MicroLens
from protocols.errors import DataError, UserError
from protocols.progress import Quiet
from protocols.splitting.leave_one_out import MicroLensLoo
from protocols.splitting.presets import Rolling7d

T = 1_600_000_000_000
CSV = f"user,item,timestamp\n1,10,{T}\n1,20,{T + 5}\n2,20,{T + 1}\n3,30,{T + 2}\n3,10,{T + 3}\n"
TSV = "1\t10 20\r\n2\t20\r\n3\t30 10\r\n"
TITLES = 'item,title\r\n10,"one, two # fun"\r\n20,"bare\rreturn ""quoted"""\r\n30,x\r\n40,never taken\r\n'


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "release"
    folder.mkdir()
    return folder


def write(root, **files):
    for name, content in files.items():
        suffix = {"pairs_csv": "pairs.csv", "pairs_tsv": "pairs.tsv", "likes_and_views": "likes_and_views.txt"}
        path = root / f"MicroLens-100k_{suffix.get(name, name + '.csv')}"
        path.write_bytes(content.encode())


def load(root, **options):
    return MicroLens(root=str(root), **options).load(root, Quiet())


def rows(dataset):
    return dataset.interactions.to_numpy().tolist()


def test_log_with_times(root):
    write(root, pairs_csv=CSV, titles=TITLES)
    dataset = load(root)
    expected = [("1", "10", 0), ("2", "20", 1), ("3", "30", 2), ("3", "10", 3), ("1", "20", 5)]
    assert rows(dataset) == [[user, item, T + after] for user, item, after in expected]
    assert dataset.timed and dataset.version == "100k, csv"
    assert dataset.items["title"].to_dict() == {
        "10": "one, two # fun",
        "20": 'bare\rreturn "quoted"',
        "30": "x",
        "40": "never taken",
    }
    assert "research only" in dataset.licence and "2309.15379" in dataset.citation
    assert any("whole period" in s for s in dataset.card) and any("likes_and_views" in s for s in dataset.card)


def test_sequences_without_times_have_places_for_times(root):
    write(root, pairs_tsv=TSV, titles=TITLES)
    dataset = load(root)
    assert not dataset.timed and dataset.version == "100k, tsv"
    assert sorted(rows(dataset)) == [["1", "10", 0], ["1", "20", 1], ["2", "20", 0], ["3", "10", 1], ["3", "30", 0]]
    assert any("only microlens-loo" in s for s in dataset.card)
    with pytest.raises(DataError, match="no calendar") as caught:
        Rolling7d().split(dataset)
    assert "microlens-loo" in caught.value.remedy


def test_sequences_keep_repeats_and_can_be_left_one_out(root):
    write(root, pairs_tsv="".join(f"{u}\t1 2 1 3 4 {u + 5} 6\n" for u in range(6)))
    dataset = load(root)
    assert len(dataset.interactions) == 42 and dataset.duplicates == 0
    assert MicroLensLoo().split(dataset)[0].info["users"] == 6


def test_times_are_preferred_unless_said_otherwise(root):
    write(root, pairs_csv=CSV, pairs_tsv=TSV)
    assert load(root).timed and load(root, pairs="csv").timed and not load(root, pairs="tsv").timed


@pytest.mark.parametrize("head", ["", "item,title\n", "\ufeffitem,title\n", "\ufeff"])
def test_titles_with_and_without_a_header(root, head):
    write(root, pairs_csv=CSV, title_en=head + TITLES.split("\n", 1)[1])
    items = load(root).items
    assert items.loc["10", "title"] == "one, two # fun" and "item" not in items.index


def test_english_titles_first_and_items_without_titles_stay(root):
    write(root, pairs_csv=CSV, titles="10,first\n", title_en="10,english\n")
    items = load(root).items
    assert items.loc["10", "title"] == "english" and items["title"].isna().sum() == 2 and len(items) == 3


def test_no_titles_at_all(root):
    write(root, pairs_csv=CSV)
    assert list(load(root).items.index) == ["10", "20", "30"]


def test_totals_from_the_future_are_reported_and_never_opened(root):
    write(root, pairs_csv=CSV, titles=TITLES)
    before = load(root).fingerprint
    path = root / "MicroLens-100k_likes_and_views.txt"
    path.mkdir()  # whoever opens it fails
    dataset = load(root)
    found = {f.what: f for f in MicroLens(root=str(root)).inspect(dataset)}
    assert "never read" in found[path.name].found and found[path.name].ok is None
    assert dataset.fingerprint == before and set(dataset.items) == {"title"}


@pytest.mark.parametrize("name", ["videos", "MicroLens-100k_videos"])
def test_videos_by_item_id(root, name):
    write(root, pairs_csv=CSV, titles=TITLES)
    (root / name).mkdir()
    for item in ("10", "30", "99"):
        (root / name / f"{item}.mp4").write_bytes(b"x")
    videos = load(root).items["video"].to_dict()
    assert videos == {"10": str(root / name / "10.mp4"), "20": None, "30": str(root / name / "30.mp4"), "40": None}


def test_a_folder_for_each_size_below_root(root):
    inner = root / "MicroLens-100k"
    inner.mkdir()
    write(inner, pairs_csv=CSV)
    assert load(root).root == inner


def test_files_that_are_not_there_are_listed(root):
    (root / "MicroLens-50k_pairs.tsv").write_text(TSV)
    with pytest.raises(UserError) as caught:
        load(root)
    for name in ("MicroLens-100k_pairs.csv", "MicroLens-100k_pairs.tsv", "there are MicroLens-50k_pairs.tsv"):
        assert name in str(caught.value)
    assert "size" in caught.value.remedy
    with pytest.raises(UserError, match=r"MicroLens-50k_pairs\.csv"):
        load(root, size="50k", pairs="csv")
    assert not load(root, size="50k").timed


def test_root_is_asked_for_and_taken_from_the_environment(root, monkeypatch):
    monkeypatch.delenv("BENCH_MICROLENS", raising=False)
    with pytest.raises(UserError, match="directory of the official release") as caught:
        MicroLens().load(root, Quiet())
    assert "BENCH_MICROLENS=FOLDER" in caught.value.remedy
    with pytest.raises(UserError, match="is not a folder"):
        load(root / "absent")
    write(root, pairs_csv=CSV)
    monkeypatch.setenv("BENCH_MICROLENS", str(root))
    assert len(MicroLens().load(root, Quiet()).interactions) == 5


def test_sample_of_users_is_drawn_from_the_seed_alone(root):
    lines = [f"{u},{u % 7},{T + u}" for u in range(50)] + [f"{u},{u % 11 + 20},{T + u}" for u in range(50)]
    write(root, pairs_csv="\n".join(["user,item,timestamp", *lines]), titles="0,x\n99,y\n")
    some = load(root, users=10, seed=0)
    assert some.interactions["user_id"].nunique() == 10 and len(some.interactions) == 20
    assert set(some.items.index) == set(some.interactions["item_id"]) and "99" not in some.items.index
    write(root, pairs_csv="\n".join(["user,item,timestamp", *reversed(lines)]), titles="0,x\n99,y\n")
    again, other = load(root, users=10, seed=0), load(root, users=10, seed=1)
    assert again.fingerprint == some.fingerprint and other.fingerprint != some.fingerprint
    assert set(other.interactions["user_id"]) != set(some.interactions["user_id"])
    # everybody is still a sample, with a fingerprint of its own
    assert load(root, users=50).fingerprint != load(root).fingerprint
    for users in (0, 51):
        with pytest.raises(UserError, match="expected 1 to 50"):
            load(root, users=users)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("1\t10 20\n1\t30\n", "line 2: user '1' has a line already"),
        ("1\t10 20\n2\t\n", "line 2: user '2' has no items"),
        ("1\t10 20\n2 30\n", "line 2: 1 cell where there are 2"),
        ("1\t10 20\n\t30\n", "line 2: user '' is empty"),
    ],
)
def test_broken_sequences_name_the_line(root, content, says):
    write(root, pairs_tsv=content)
    with pytest.raises(DataError, match=says):
        load(root)


def test_known_counts_and_hashes_are_compared(root, monkeypatch):
    write(root, pairs_csv=CSV, titles=TITLES)
    monkeypatch.setitem(microlens.COUNTS, "100k", {"users": 3, "items": 4, "interactions": 5})
    monkeypatch.setitem(microlens.HASHES, "MicroLens-100k_pairs.csv", "0123abcd")
    plugin = MicroLens(root=str(root))
    found = {f.what: f for f in plugin.inspect(plugin.load(root, Quiet()))}
    assert found["users"].ok and found["interactions"].ok
    assert found["items"].ok is False and found["items"].found == "3"
    assert found["MicroLens-100k_pairs.csv sha256"].ok is False
    assert found["MicroLens-100k_titles.csv sha256"].ok is None
    sample = MicroLens(root=str(root), users=2)
    assert "users" not in {f.what for f in sample.inspect(sample.load(root, Quiet()))}


def test_release_size_is_one_of_three(root):
    with pytest.raises(UserError, match="'50k', '100k', '1M'"):
        MicroLens.from_options({"size": "10k"})
    assert "root" not in MicroLens(root=str(root)).options()
