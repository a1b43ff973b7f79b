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
