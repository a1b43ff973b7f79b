"""Options from the command line and from files."""

import pytest

from bench import settings
from protocols.errors import UserError


def test_folders_come_from_option_then_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "env"))
    assert settings.cache_folder() == tmp_path / "env"
    assert settings.cache_folder(str(tmp_path / "option")) == tmp_path / "option"
    assert (tmp_path / "env").is_dir()


@pytest.mark.parametrize("text", ["x", "x=1", ".a=1", "x.=1", "=1"])
def test_malformed_assignments_are_refused(text):
    with pytest.raises(UserError, match=r"NAME\.OPTION=VALUE"):
        settings.parse_sets([text])


def test_value_may_hold_equal_signs_and_names_may_hold_dots():
    assert settings.parse_sets(["a.b=c=d", "rolling-7d.window=3d"]) == {
        "a": {"b": "c=d"},
        "rolling-7d": {"window": "3d"},
    }


@pytest.mark.parametrize("content", ["[1, 2]", "a: [", "\x00", "just text"])
def test_files_that_hold_no_mapping_are_refused_by_name(tmp_path, content):
    path = tmp_path / "options.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=r"options\.yaml"):
        settings.read_yaml(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("seeds: 1\nseeds: 2", "'seeds' stands twice"),
        ("set: {sasrec: {dim: 1, dim: 2}}", "'dim' stands twice"),
        ("rows: !!set {a, b}", "a set is neither"),
        ("set: {sasrec: {1: 2}}", "key 1 is no text"),
        ("set: {sasrec: {on: 2}}", "key True is no text"),
        ("set: &again {sasrec: *again}", "nested too deeply"),
        ("device: !!binary aGVsbG8=", "a bytes is neither"),
        ("seeds: " + "9" * 5000, "not valid YAML"),
        ("rows: " + "[" * 100_000, "nested too deeply"),
        ("rows: " + "[" * 30 + "]" * 30, "nested too deeply"),
    ],
)
def test_yaml_beyond_json_is_refused_by_name(tmp_path, content, says):
    path = tmp_path / "options.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=rf"options\.yaml.*{says}"):
        settings.read_yaml(path)


def test_a_date_in_yaml_is_text_and_an_anchor_may_be_used_again(tmp_path):
    path = tmp_path / "options.yaml"
    path.write_text("set: &one {csv: {since: 2024-01-01}}\nother: *one\n")
    assert settings.read_yaml(path) == {name: {"csv": {"since": "2024-01-01"}} for name in ("set", "other")}
