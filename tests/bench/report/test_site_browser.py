"""The site in a real browser: order, filters, columns, the URL, two rows compared, charts, themes, a narrow screen."""

import re

import pytest

from bench.report import site

pytestmark = pytest.mark.slow

TITLE = "<script>window.hit = 1</script><img src=x onerror='window.hit = 1'>"


CELLS = "rows => rows.map(row => row.dataset.cell)"


@pytest.fixture
def folder(write_cell, tmp_path):
    features = {"space": "x", "coverage": 1.0, "seconds_per_item": 0.5, "bytes_per_item": 64}
    seconds = {"search": 2.0}
    write_cell("pop", "-", "-", seeds=(0,), lift=-0.05, simulated=True)
    write_cell("oracle", "-", "-", seeds=(0,), lift=0.3, simulated=True)
    write_cell("sasrec", "id", "id", simulated=True, seconds=seconds)
    write_cell("sasrec", "captions", "gate", lift=0.1, simulated=True, features=features, seconds=seconds)
    write_cell("sasrec", TITLE, "replace", lift=0.05, simulated=True, features=features, seconds=seconds)
    return site.write(tmp_path, tmp_path / "site").parent


@pytest.fixture
def visit(open_page, folder):
    """A function that opens the board, at a fragment of its URL, and returns the page."""

    def visit(fragment="", **settings):
        page = open_page(folder / "index.html", **settings)
        if fragment:
            page.goto(f"{page.url}#{fragment}")
            page.reload()
        page.wait_for_selector("[data-chart=ranking] .drawn")
        return page

    return visit


def column(page, name):
    script = """(rows, name) => rows.map(row => row.cells[
        [...document.querySelectorAll("#rows thead th")].findIndex(head => head.dataset.column === name)
    ].dataset.value)"""
    return page.eval_on_selector_all("#rows tbody tr:not([hidden])", script, name)


def numbers(page, name):
    return [float(value) for value in column(page, name)]


def labels(page, chart="ranking"):
    """Names of the rows that a chart shows."""
    return page.locator(f"[data-chart={chart}] svg text[text-anchor=end] title").all_text_contents()


def cell_of(page, name):
    return page.locator("#rows tbody tr", has_text=name).first.get_attribute("data-cell")


def test_the_first_click_sorts_best_first_by_mouse_and_by_keyboard(visit):
    page = visit()
    head = page.locator("#rows thead [data-column='hr@10']")
    head.locator("button").click()
    shown = numbers(page, "hr@10")
    assert shown == sorted(shown, reverse=True)
    assert head.get_attribute("aria-sort") == "descending"
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert numbers(page, "hr@10") == shown[::-1]
    page.click("#rows thead [data-column=train] button")
    costs = column(page, "train")
    known = [float(value) for value in costs if value]
    assert known == sorted(known)  # of a cost the least is the best
    assert costs[len(known) :] == [""] * (len(costs) - len(known))


def test_filters_and_order_are_in_the_url_and_come_from_it(visit, expect):
    page = visit()
    assert page.inner_text("#shown") == "5 of 5 rows"
    page.fill("[name=find]", "captions gate")
    expect(page).to_have_url(re.compile("#.*find="))
    assert column(page, "row") == ["sasrec captions gate"]
    page.fill("[name=find]", "")
    page.select_option("[name=model]", "sasrec")
    page.click("#rows thead [data-column='ndcg@10'] button")
    page.click("#rows thead [data-column='ndcg@10'] button")
    expect(page).to_have_url(re.compile("#.*sort="))
    rows = column(page, "row")
    assert len(rows) == 3
    page.reload()
    assert column(page, "row") == rows
    assert page.input_value("[name=model]") == "sasrec"
    page.click("button[type=reset]")
    assert page.inner_text("#shown") == "5 of 5 rows"
    assert "#" not in page.url


def test_a_url_with_nonsense_shows_the_board(visit, expect):
    page = visit("model=nobody&sort=-x&columns=y,%3Cscript%3E&compare=1,2&chart-cost=99&chart-none=1&find=%3Cb%3E")
    assert page.inner_text("#shown") == "0 of 5 rows"
    assert page.input_value("[name=find]") == "<b>"
    assert page.input_value("[name=model]") == ""
    page.fill("[name=find]", "")
    expect(page.locator("#shown")).to_have_text("5 of 5 rows")


def test_one_switch_hides_the_controls_also_in_the_charts(visit, expect):
    page = visit()
    assert len(labels(page)) == 4  # the ceiling is a line
    assert "oracle" in page.text_content("[data-chart=ranking] .axis")
    page.uncheck("[name=controls]")
    expect(page).to_have_url(re.compile("#controls=0$"))
    assert sorted(column(page, "extractor")) == sorted([TITLE, "captions"])
    assert len(labels(page)) == 2
    assert "oracle" not in page.text_content("[data-chart=ranking] .axis")


def test_columns_are_chosen_and_kept_in_the_url(visit):
    page = visit()
    shown = "[...document.querySelectorAll('#rows thead th:not([hidden])')].map(head => head.dataset.column)"
    usual = page.evaluate(shown)
    assert "seed-sd" not in usual
    page.click("#columns summary")
    page.check("[name=column][value=parameters]")
    page.uncheck("[name=column][value='hr@10']")
    chosen = page.evaluate(shown)
    assert set(chosen) == {*usual, "parameters"} - {"hr@10"}
    page.reload()
    assert page.evaluate(shown) == chosen
    page.click("#columns summary")
    page.click("#usual")
    assert page.evaluate(shown) == usual


def test_charts_follow_the_filter_and_variants_are_chosen(visit, expect):
    page = visit()
    page.select_option("[name=extractor]", "captions")
    expect(page).to_have_url(re.compile("#.*extractor="))
    assert labels(page) == ["sasrec captions gate"]
    assert page.locator("[data-chart=heat] tbody th").all_inner_texts() == ["captions"]
    page.click("button[type=reset]")
    page.select_option("[data-chart=cost] select", label="extraction, seconds an item")
    expect(page).to_have_url(re.compile("#.*chart-cost="))
    page.reload()
    page.wait_for_selector("[data-chart=cost] svg")
    assert "extraction" in page.text_content("[data-chart=cost] svg")
    page.click("[data-chart=ranking] .legend button:has-text('pop')")
    assert page.get_attribute("[data-chart=ranking] .legend button:has-text('pop')", "aria-pressed") == "false"


def test_two_rows_side_by_side_with_the_users_who_gain_and_lose(visit, folder, expect):
    page = visit()
    for name in ("sasrec captions gate", "sasrec id id"):
        page.locator("#rows tbody tr", has_text=name).locator(".pick").check()
    page.wait_for_selector("#counts")
    a, b = cell_of(page, "sasrec captions gate"), cell_of(page, "sasrec id id")
    numbers_of = dict(zip(page.eval_on_selector_all("#rows tbody tr", CELLS), numbers(page, "ndcg@10"), strict=True))
    means = [numbers_of[one] for one in (a, b)]
    assert f"+{means[0] - means[1]:.4f}" in page.inner_text("#pair table >> nth=0")
    assert page.inner_text("#counts").startswith("Of 400 users and folds, 4")
    assert f"bench diff {a} {b}" in page.inner_text("#pair")
    assert page.url.endswith(f"#compare={a},{b}")
    gains = page.inner_text("#counts")
    page.click("#swap")
    expect(page.locator("#counts")).not_to_have_text(gains)
    assert page.input_value("[name=a]") == b
    page.reload()
    page.wait_for_selector("#counts")
    assert page.input_value("[name=b]") == a


def test_pages_of_diff_are_linked_where_their_runs_are_compared(open_page, write_cell, tmp_path):
    a, b = (write_cell("sasrec", name, "gate")[0].parent.name.rpartition("-")[2] for name in ("captions", "titles"))
    site.write(tmp_path, tmp_path / "site", diffs={(a, b): "diff.html"})
    page = open_page(tmp_path / "site" / "index.html")
    page.goto(f"{page.url}#compare={b},{a}")
    page.reload()
    page.wait_for_selector("#counts")
    assert page.get_attribute("#pair a", "href") == "diff.html"
    assert "under B and none under A" in page.inner_text("#pair a")


def test_a_run_opens_and_a_hostile_title_stays_text(visit):
    page = visit()
    page.check(f"tr[data-cell='{cell_of(page, TITLE)}'] .pick")
    page.check(f"tr[data-cell='{cell_of(page, 'sasrec id id')}'] .pick")
    page.wait_for_selector("#counts")
    assert TITLE in page.inner_text("#rows")
    assert TITLE in page.inner_text("#pair")
    assert any("<script>" in label for label in labels(page))
    assert TITLE in page.text_content("[data-chart=heat] tbody")
    page.locator("#rows tbody th a", has_text=TITLE).click()
    page.wait_for_selector("h2 >> text=Environment")
    assert page.inner_text("h1") == f"sasrec {TITLE} replace"
    assert page.evaluate("window.hit") is None
    page.click("nav >> text=Boards")
    page.wait_for_selector("[data-chart=ranking] svg")
    assert page.evaluate("window.hit") is None


def test_a_board_of_hundreds_of_rows_scrolls_within_its_page(open_page, write_cell, tmp_path):
    for at in range(100):
        write_cell("pop", f"x{at}", "gate", folds=1, users=3, lift=at / 1000)
    page = open_page(site.write(tmp_path, tmp_path / "site"), viewport={"width": 1280, "height": 900})
    page.wait_for_selector("[data-chart=ranking] svg")
    assert len(labels(page)) == 100
    assert page.evaluate("document.documentElement.scrollHeight") < 7000
    page.evaluate("document.querySelector('.scroll').scrollTop = 2000")
    box, head = page.locator(".scroll").first.bounding_box(), page.locator("#rows thead th").first.bounding_box()
    assert abs(head["y"] - box["y"]) < 3  # heads stay in sight


def test_the_theme_follows_the_system_until_it_is_switched(visit):
    ground = "getComputedStyle(document.body).backgroundColor"
    dark, light = visit(color_scheme="dark"), visit(color_scheme="light")
    colours = [page.evaluate(ground) for page in (dark, light)]
    assert colours[0] != colours[1]
    ink = "getComputedStyle(document.querySelector('[data-chart=ranking] svg text')).fill"
    before = light.evaluate(ink)
    light.focus("#theme")
    light.keyboard.press("Enter")
    assert light.evaluate(ground) == colours[0]
    assert light.evaluate(ink) != before
    light.reload()
    assert light.evaluate(ground) == colours[0]


@pytest.mark.parametrize("wide", [390, 1920])
def test_the_page_is_as_wide_as_the_screen_and_a_phone_scrolls_the_table(visit, wide):
    page = visit(viewport={"width": wide, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= wide
    assert page.locator(".scroll").first.bounding_box()["width"] > wide - 80
    if wide == 390:
        page.evaluate("document.querySelector('.scroll').scrollLeft = 200")
        place = page.locator("#rows tbody th").first.bounding_box()
        assert place["x"] >= 0  # the name of the row stays in sight
