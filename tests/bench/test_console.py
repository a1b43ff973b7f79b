"""Progress of work that takes a while."""

import io

import pytest

from bench import console


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 0.0

    monkeypatch.setattr(console.time, "monotonic", lambda: Clock.now)
    return Clock


def test_without_a_terminal_a_long_task_says_once_a_minute_how_far_it_is(clock):
    out = io.StringIO()
    with console.Lines(out).task("captions", 100) as task:
        for _ in range(12):
            clock.now += 25
            task.advance(5, note="1 without a feature")
        clock.now += 100
        task.advance(40)
    assert out.getvalue().splitlines() == [
        f"captions: {done} of 100, 0.2/s, {left} left, 1 without a feature"
        for done, left in ((15, "0:07:05"), (30, "0:05:50"), (45, "0:04:35"), (60, "0:03:20"))
    ]


def test_short_tasks_and_unknown_totals(clock):
    out = io.StringIO()
    lines = console.Lines(out)
    with lines.task("short", 3) as task:
        clock.now += 59
        task.advance(2)
    with lines.task("reading") as task:
        clock.now += 61
        task.advance(122)
    lines.say("done")
    assert out.getvalue().splitlines() == ["reading: 122, 2/s", "done"]


def test_before_the_first_step_is_done_its_note_is_shown_without_a_rate(clock):
    out = io.StringIO()
    with console.Lines(out).task("train and rank", 40) as task:
        clock.now += 61
        task.advance(0, note="sasrec id, seed 1, fold 0, search: epoch 2, ndcg@10 0.0771")
    assert out.getvalue() == (
        "train and rank: 0 of 40, 0/s, sasrec id, seed 1, fold 0, search: epoch 2, ndcg@10 0.0771\n"
    )


@pytest.mark.parametrize("width", [80, 100, 160])
def test_bars_show_items_per_second_the_time_left_and_epochs_with_their_metric(width):
    out = io.StringIO()
    bars = console.Bars(out)
    bars._live.console.width = width
    note = "sasrec captions gate, seed 1, fold 0, search: epoch 12, ndcg@10 0.0734"
    with bars.task("captions of all clips in the world", 10) as bar:
        bar.advance(4)
        bar.advance(4, note=note)
    shown = out.getvalue()
    assert note in shown
    assert "captions of all" in shown
    assert "8/10" in shown
    assert "/s" in shown
    assert "eta" in shown
