import threading

import pytest

from protocols.atomic_write import PART, write_atomically


@pytest.mark.parametrize("content", ["tiré\n", "tiré\n".encode(), lambda path: path.write_text("tiré\n", "utf-8")])
def test_text_bytes_and_functions_are_written_and_folders_made(content, tmp_path):
    path = tmp_path / "new" / "folder" / "file.json"
    write_atomically(path, content)
    assert path.read_bytes() == "tiré\n".encode()
    assert [one.name for one in path.parent.iterdir()] == ["file.json"]


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt, ValueError])
def test_after_an_error_the_old_file_stands_and_nothing_else(error, tmp_path):
    path = tmp_path / "file.json"
    write_atomically(path, "old")

    def fails(part):
        part.write_text("half")
        raise error

    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        write_atomically(path, fails)
    assert path.read_text() == "old" and [one.name for one in tmp_path.iterdir()] == ["file.json"]


def test_the_file_is_there_only_when_it_is_whole(tmp_path):
    path = tmp_path / "file.json"
    seen = []

    def half(part):
        part.write_text("half")
        seen.append((path.exists(), part.parent, part.name.startswith("."), part.suffix))

    write_atomically(path, half)
    assert seen == [(False, tmp_path, True, PART)]


def test_the_rights_are_those_of_an_ordinary_file(tmp_path):
    (tmp_path / "ordinary").write_text("")
    write_atomically(tmp_path / "atomic", "")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_writers_at_once_leave_one_whole_file(tmp_path):
    path, both = tmp_path / "file", threading.Barrier(2)

    def write(part, letter):
        part.write_text(letter * 10_000)
        both.wait()

    threads = [
        threading.Thread(target=write_atomically, args=(path, lambda part, letter=letter: write(part, letter)))
        for letter in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in ("a" * 10_000, "b" * 10_000) and [one.name for one in tmp_path.iterdir()] == ["file"]
