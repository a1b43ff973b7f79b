"""Published logs, each on a small made-up release of the official layout; KuaiRand on the real one where it is."""

import gzip
import json
import os

import numpy as np
import pandas as pd
import pytest

from bench.registry import create
from feature_extractors.files.vectors import read_vectors
from protocols.errors import UserError
from protocols.progress import Quiet
from protocols.splitting.presets import Rolling7d

S = 1_650_812_741


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, pd.DataFrame):
            content.to_parquet(path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def load(tmp_path):
    def load(name, root=tmp_path, **options):
        plugin = create("dataset", name, {name: {"root": str(root), **options}})
        dataset = plugin.load(tmp_path, Quiet())
        assert dataset.name == name and dataset.licence == plugin.licence and dataset.citation
        return dataset, plugin

    return load


def log_of(dataset):
    return [tuple(row) for row in dataset.interactions.to_numpy().tolist()]


def test_movielens_of_today(write, load, tmp_path):
    root = tmp_path / "ml-latest-small"
    write(
        "ml-latest-small/ratings.csv",
        f"userId,movieId,rating,timestamp\n1,31,2.5,{S}\n1,10,4.0,{S + 1}\n2,10,5.0,{S}\n",
    )
    write(
        "ml-latest-small/movies.csv", 'movieId,title,genres\n10,"Matter, A (1995)",Drama\n31,Minds (1995),Drama|War\n'
    )
    dataset, plugin = load("movielens", root)
    assert log_of(dataset) == [("2", "10", S * 1000), ("1", "10", S * 1000 + 1000)]
    assert dataset.items.loc["10", "title"] == "Matter, A (1995)" and dataset.version == "ml-latest-small, rating >= 4"
    assert [(f.what, f.found, f.ok) for f in plugin.inspect(dataset)] == [
        ("users", "2", False),
        ("interactions", "3", False),
    ]
    everything, _ = load("movielens", root, where="")
    assert len(everything.interactions) == 3 and everything.fingerprint != dataset.fingerprint


def test_movielens_1m(write, load, tmp_path):
    write("ml-1m/ratings.dat", f"1::1193::5::{S}\n1::661::3::{S + 1}\n")
    write("ml-1m/movies.dat", "661::James::Animation\n1193::Amélie, or: Cuckoo's Nest (1975)::Drama\n".encode("latin1"))
    dataset, plugin = load("movielens", tmp_path / "ml-1m")
    assert log_of(dataset) == [("1", "1193", S * 1000)]
    assert dataset.items.loc["1193", "title"] == "Amélie, or: Cuckoo's Nest (1975)"
    assert plugin.inspect(dataset)[1].found == "2"


KUAI = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
    "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab\n"
)
VIDEOS = (
    "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,server_height,"
    "music_id,music_type,tag\n7,1,NORMAL,2022-04-10,LongImport,0.0,87433.0,720.0,1280.0,9.0,9.0,39\n"
    "8,1,NORMAL,,Kmovie,0.0,,720.0,1280.0,9.0,9.0,\n"
)


def kuai_row(user, video, time, click):
    return f"{user},{video},20220425,0,{time},{click},0,0,0,0,0,1,61802,49866,0,0,0,0,1\n"


@pytest.mark.parametrize("size", ["pure", "1k", "27k"])
def test_kuairand(write, load, size):
    parts = ("_part1", "_part2") if size == "27k" else ("",)
    for period in ("4_08_to_4_21", "4_22_to_5_08"):
        for at, part in enumerate(parts):
            rows = kuai_row(at, 7, S * 1000 + at + (period < "4_1"), 1) + kuai_row(at, 8, S * 1000 + 50, 0)
            write(f"data/log_standard_{period}_{size}{part}.csv", KUAI + rows)
    write(f"data/log_random_4_22_to_5_08_{size}.csv", KUAI + kuai_row(99, 7, S * 1000, 1))
    write(f"data/video_features_basic_{size}.csv", VIDEOS)
    dataset, plugin = load("kuairand", size=size)
    assert set(dataset.interactions["item_id"]) == {"7"} and "99" not in set(dataset.interactions["user_id"])
    assert len(dataset.interactions) == 2 * len(parts)
    assert dataset.items.loc["7", ["release", "duration"]].tolist() == [1_649_548_800_000, 87.433]
    assert np.isnan(dataset.items.loc["8", "release"])
    assert [f.found for f in plugin.inspect(dataset)] == [str(len(parts)), "2", str(4 * len(parts))]


@pytest.mark.skipif("BENCH_KUAIRAND" not in os.environ, reason="needs the real files: BENCH_KUAIRAND=FOLDER")
def test_kuairand_as_published(tmp_path):
    dataset = create("dataset", "kuairand", {}).load(tmp_path, Quiet())
    assert len(dataset.interactions) + dataset.duplicates >= 100_900 and len(dataset.items) == 7_583
    fold = Rolling7d.from_options({"folds": 1}).split(dataset)[0]
    assert fold.info["users"] == 12_496


KUAIREC = "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio\n"


def test_kuairec(write, load):
    rows = (
        f"0,7,13838,10867,2020-07-05 00:08:23.438,20200705,{S}.438,2.5\n"
        f"0,8,1,10867,x,20200705,{S}.5,0.1\n0,8,21734,10867,x,20200705,{S}.6,2.0\n"
    )
    write("data/big_matrix.csv", KUAIREC + rows)
    daily = "7,20200705,2020-03-30,20.5\n7,20200706,2020-03-30,21\n8,20200705,2020-04-01,1\n"
    write("data/item_daily_features.csv", "video_id,date,upload_dt,show_cnt\n" + daily)
    captions = '7,UNKNOWN,"精神, 小伙",[]\n9,UNKNOWN,一段王朝\r！,[]\n8,UNKNOWN,,[]\n'  # as published: a bare CR
    write("data/kuairec_caption_category.csv", "video_id,manual_cover_text,caption,topic_tag\n" + captions)
    dataset, plugin = load("kuairec")
    assert log_of(dataset) == [("0", "7", S * 1000 + 438)]
    assert dataset.items["title"].to_dict() == {"7": "精神, 小伙", "8": None}
    assert dataset.items["release"].tolist() == [1_585_526_400_000, 1_585_699_200_000]
    assert [f.found for f in plugin.inspect(dataset)] == ["1", "2", "3"]
    write("data/kuairec_caption_category.csv", "id,caption\n7,x\n")
    with pytest.raises(UserError, match=r"kuairec_caption_category\.csv: .*video_id"):
        load("kuairec")


@pytest.mark.parametrize("where", ["watch_ratio > 2", ""])
def test_kuairec_rows_without_times(write, load, where):
    rows = f"0,7,9,9,2020-07-05 00:08:23.438,20200705.0,{S}.438,2.5\n1,7,9,9,,,,2.5\n1,8,9,9,,,,0.5\n"
    write("data/small_matrix.csv", KUAIREC + rows)
    dataset, plugin = load("kuairec", matrix="small", where=where)
    assert log_of(dataset) == [("0", "7", S * 1000 + 438)]
    assert any(sentence.startswith("Interactions are the 1 of 3 rows with") for sentence in dataset.card)
    assert [f.found for f in plugin.inspect(dataset)] == ["2", "2", "3"]


def test_amazon_reviews(write, load):
    def review(user, item, rating, time):
        said = {"rating": rating, "title": "Such", "text": "a\nb", "images": [], "asin": "B0", "helpful_vote": 0}
        return json.dumps({**said, "parent_asin": item, "user_id": user, "timestamp": time}) + "\n"

    rows = [("AG", "B00", 5.0, S * 1000), ("AG", "B01", 2.0, S * 1000), ("AH", "B01", 4.0, S * 1000 + 3)]
    reviews = "".join(review(*row) for row in rows)
    write("Gift_Cards.jsonl.gz", gzip.compress(reviews.encode()))
    meta = [{"main_category": "GC", "title": title, "parent_asin": item, "features": [], "details": {"a": 1}}
            for item, title in (("B00", "One"), ("B01", "Two"))]  # fmt: skip
    write("meta_Gift_Cards.jsonl", "\n".join(map(json.dumps, meta)))
    dataset, _ = load("amazon-reviews", category="Gift_Cards")
    assert log_of(dataset) == [("AG", "B00", S * 1000), ("AH", "B01", S * 1000 + 3)]
    assert dataset.items["title"].to_dict() == {"B00": "One", "B01": "Two"}
    write("Toys.csv", f"user_id,parent_asin,rating,timestamp\nAG,B00,5.0,{S * 1000}\n")
    assert len(load("amazon-reviews", category="Toys")[0].interactions) == 1


def test_mind(write, load, tmp_path):
    behaviors = (
        "1\tU1\t11/11/2019 9:05:58 AM\tN9 N8\tN1-0 N2-1 N3-1\n"
        "2\tU2\t11/12/2019 12:30:00 PM\t\tN1-1\n"
        "3\tU2\t11/12/2019 6:11:30 PM\t\tN3-0\n"
    )
    write("MINDsmall_train/behaviors.tsv", behaviors)
    news = "".join(f'N{k}\tsports\tgolf\t"A" title {k}\tabs\thttps://x\t[]\t[]\n' for k in (1, 2, 3))
    write("MINDsmall_train/news.tsv", news)
    dataset, _ = load("mind", tmp_path / "MINDsmall_train")
    assert log_of(dataset) == [
        ("U1", "N2", 1_573_463_158_000), ("U1", "N3", 1_573_463_158_000), ("U2", "N1", 1_573_561_800_000),
    ]  # fmt: skip
    assert dataset.items.loc["N1", "title"] == '"A" title 1'
    assert "2 clicks of histories have no times and are left out." in dataset.card
    write("MINDsmall_train/behaviors.tsv", behaviors.replace("N1-0", "N1"))
    with pytest.raises(UserError, match="'N1' is not ITEM-0 or ITEM-1"):
        load("mind", tmp_path / "MINDsmall_train")
    write("MINDsmall_train/behaviors.tsv", behaviors.replace("11/12/2019 12:30:00 PM", "12.11.2019"))
    with pytest.raises(UserError, match=r"line 2: time '12.11.2019'"):
        load("mind", tmp_path / "MINDsmall_train")


def test_vk_lsvd(write, load, tmp_path):
    def week(rows):
        frame = pd.DataFrame(rows, columns=["user_id", "item_id", "like"]).astype(
            {"user_id": "uint32", "item_id": "uint32"}
        )
        return frame.assign(place=np.uint8(1), timespent=np.uint8(9))

    sub = "subsamples/ur0.01"
    write(f"{sub}/train/week_00.parquet", week([(1, 10, True), (2, 11, False), (1, 12, True)]))
    write(f"{sub}/train/week_01.parquet", week([(2, 10, True)]))
    write(f"{sub}/validation/week_25.parquet", week([(3, 12, True), (1, 11, True)]))
    items = pd.DataFrame({"item_id": np.arange(8, 20, dtype=np.uint32), "duration": np.arange(12), "author_id": 1})
    write("metadata/items_metadata.parquet", items)
    dataset, _ = load("vk-lsvd", tmp_path / sub)
    begin, day = 946_857_600_000, 86_400_000
    assert [(u, i, (t - begin) / day) for u, i, t in log_of(dataset)] == [
        ("1", "10", 0), ("1", "12", pytest.approx(14 / 3)), ("2", "10", 7), ("3", "12", 175), ("1", "11", 178.5),
    ]  # fmt: skip
    assert dataset.items["duration"].to_dict() == {"10": 2, "11": 3, "12": 4}
    assert len(load("vk-lsvd", tmp_path / sub, weeks=1, where="")[0].interactions) == 2
    ids, vectors = np.array([10, 11, 12], dtype=np.uint32), tmp_path / "metadata" / "item_embeddings.npz"
    np.savez(vectors, item_id=ids, embedding=np.eye(3, dtype=np.float16))
    assert read_vectors(vectors, id_column="item_id", vector_column="embedding").ids == ["10", "11", "12"]
    with pytest.raises(UserError, match="no array 'ids' in it, only item_id, embedding"):
        read_vectors(vectors)
    write(f"{sub}/again/week_01.parquet", week([(2, 10, True)]))
    with pytest.raises(UserError, match="are both week 1"):
        load("vk-lsvd", tmp_path / sub)


def test_yambda(write, load, tmp_path):
    whole = {"uid": "uint32", "item_id": "uint32", "timestamp": "uint32", "is_organic": "uint8"}
    likes = pd.DataFrame([(100, 8, 5, 1), (100, 7, 60, 0), (200, 7, 5, 1)], columns=list(whole)).astype(whole)
    write("flat/50m/likes.parquet", likes)
    played = {"played_ratio_pct": pd.array([50, 95, 120], "UInt16"), "track_length_seconds": np.uint32(180)}
    write("flat/50m/listens.parquet", likes.assign(**played))
    dataset, plugin = load("yambda")
    assert log_of(dataset) == [("100", "8", 5_000), ("200", "7", 5_000), ("100", "7", 60_000)]
    assert [(f.what, f.found, f.expected) for f in plugin.inspect(dataset)] == [("interactions", "3", "881,456")]
    listens, _ = load("yambda", tmp_path / "flat" / "50m", events="listens", where="played_ratio_pct > 50")
    assert log_of(listens) == [("200", "7", 5_000), ("100", "7", 60_000)]
    assert listens.version == "50m listens, played_ratio_pct > 50"


NAMES = ["movielens", "kuairand", "kuairec", "amazon-reviews", "mind", "vk-lsvd", "yambda"]


@pytest.mark.parametrize("name", NAMES)
def test_missing_files_are_named(name, tmp_path, load):
    with pytest.raises(UserError, match="needs the directory") as caught:
        create("dataset", name, {}).load(tmp_path, Quiet())
    assert f"--set {name}.root=FOLDER" in caught.value.remedy
    with pytest.raises(UserError, match=f"{tmp_path} has no "):
        load(name)
    with pytest.raises(UserError, match="is not a folder"):
        load(name, tmp_path / "absent")
