"""The site in a real browser: sorting, filtering, opening a run, themes, a narrow screen."""

import pytest

from bench.report import site

pytestmark = pytest.mark.slow

TITLE = "<script>window.hit = 1</script><img src=x onerror='window.hit = 1'>"


@pytest.fixture
def folder(write_cell, tmp_path):
    features = {"space": "x", "coverage": 1.0, "seconds_per_item": 0.5, "bytes_per_item": 64}
    write_cell("pop", "-", "-", seeds=(0,), lift=-0.05, simulated=True)
    write_cell("sasrec", "id", "id", simulated=True)
    write_cell("sasrec", "captions", "gate", lift=0.1, simulated=True, features=features)
    write_cell("sasrec", TITLE, "replace", lift=0.05, simulated=True, features=features)
    return site.write(tmp_path, tmp_path / "site").parent


@pytest.fixture
def visit(open_page, folder):
    """A function that opens the board and returns the page."""

    def visit(**settings):
        page = open_page(folder / "index.html", **settings)
        page.wait_for_selector("[data-figure] .main-svg")
        return page

    return visit


def column(page, at):
    return page.eval_on_selector_all(
        "#rows tbody tr:not([hidden])", f"rows => rows.map(row => row.cells[{at}].dataset.value)"
    )


def test_the_board_sorts_both_ways_by_mouse_and_by_keyboard(visit):
    page = visit()
    by_name = {name: at for at, name in enumerate(page.locator("#rows thead button").all_inner_texts())}
    head = page.locator("#rows thead th").nth(by_name["nDCG@10"])
    shown = [float(value) for value in column(page, by_name["nDCG@10"])]
    assert shown == sorted(shown, reverse=True)
    head.locator("button").click()
    assert [float(value) for value in column(page, by_name["nDCG@10"])] == shown[::-1]
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert [float(value) for value in column(page, by_name["nDCG@10"])] == shown
    assert head.get_attribute("aria-sort") == "descending"
    page.locator("#rows thead button").nth(by_name["difference"]).click()
    assert column(page, by_name["difference"])[-1] == ""  # the baseline itself has none: it stays below


def test_the_board_filters_by_word_and_by_choice(visit):
    page = visit()
    assert page.inner_text("#shown") == "4 of 4 rows"
    page.fill("#find", "captions gate")
    assert column(page, 1) == ["sasrec captions gate"]
    assert page.inner_text("#shown") == "1 of 4 rows"
    page.fill("#find", "")
    page.select_option("[data-filter=model]", "pop")
    assert column(page, 1) == ["pop"]
    page.select_option("[data-filter=fusion]", "gate")
    assert page.inner_text("#shown") == "0 of 4 rows"


def test_a_run_opens_and_a_hostile_title_stays_text(visit):
    page = visit()
    assert TITLE in page.inner_text("#rows")
    page.click(f"#rows >> text={TITLE[:8]}")
    page.wait_for_selector("[data-figure] .main-svg")
    assert page.inner_text("h1") == f"sasrec {TITLE} replace"
    assert page.evaluate("window.hit") is None
    page.click("nav >> text=Boards")
    page.wait_for_selector("[data-figure=bars] .ytick")
    assert page.evaluate("window.hit") is None
    labels = page.locator("[data-figure=bars] .ytick").all_text_contents()
    assert any("<script>" in label for label in labels)


def test_the_theme_follows_the_system_until_it_is_switched(visit):
    ground = "getComputedStyle(document.body).backgroundColor"
    dark, light = visit(color_scheme="dark"), visit(color_scheme="light")
    colours = [page.evaluate(ground) for page in (dark, light)]
    assert colours[0] != colours[1]
    font = "document.querySelector('[data-figure=bars] .xtitle').style.fill"
    before = light.evaluate(font)
    light.focus("#theme")
    light.keyboard.press("Enter")
    assert light.evaluate(ground) == colours[0]
    assert light.evaluate(font) != before
    light.reload()
    assert light.evaluate(ground) == colours[0]


def test_a_phone_scrolls_the_table_not_the_page(visit):
    page = visit(viewport={"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(
        "document.querySelector('.scroll').scrollWidth > document.querySelector('.scroll').clientWidth"
    )
    page.evaluate("document.querySelector('.scroll').scrollLeft = 200")
    place = page.locator("#rows tbody th").first.bounding_box()
    assert place["x"] >= 0  # the name of the row stays in sight
