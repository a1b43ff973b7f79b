"""Boards as text: Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable

from tabulate import tabulate

from bench.compare import Line, Report
from bench.leaderboard import METRICS, PRIMARY, Board, Row

NAMES = {"hr@10": "HR@10", "ndcg@10": "nDCG@10"}


def render(board: Board, form: str) -> str:
    """Write a board as `md`, `csv` or `latex`.

    Returns
    -------
    str
        The table with the lines that a reader needs to judge it: what was simulated, users per fold, seeds, rows
        that are not ranked and why.
    """
    return {"md": _markdown, "csv": _csv, "latex": _latex}[form](board)


def _markdown(board: Board) -> str:
    lines = [_title(board), "", *_headline(board), ""]
    header = ["#", "model", "features", "fusion", *(f"{NAMES[m]} [95%]" for m in METRICS)]
    header += ["seed SD", "diff. to id [95%]", "p (Holm)", "nDCG@10 warm", "cold", "covered", "checkpoints"]
    body = [[str(i), *_cells(row, _plain)] for i, row in enumerate(board.rows, 1)]
    lines.append(tabulate(body, header, tablefmt="github", disable_numparse=True))
    lines += ["", *_notes(board)]
    return "\n".join(lines)


def _cells(row: Row, text: Callable[[str], str]) -> list[str]:
    cells = [text(row.model), text(row.extractor), text(row.fusion)]
    cells += [f"{row.mean[m]:.4f} [{row.low[m]:.4f}, {row.high[m]:.4f}]" for m in METRICS]
    sd = row.seed_sd[PRIMARY]
    cells.append("-" if sd is None else f"{sd:.4f}")
    if row.difference is None:
        cells += ["-", "-"]
    else:
        d = row.difference
        cells.append(f"{d['value']:+.4f} [{d['low']:+.4f}, {d['high']:+.4f}]")
        cells.append(f"{d['p_holm']:.3f}{' *' if row.significant else ''}" if "p_holm" in d else "-")
    for part in ("warm", "cold"):
        value = row.slices.get(part)
        cells.append("-" if value is None else f"{value:.4f}")
    cells.append("-" if row.coverage is None else f"{row.coverage:.0%}")
    cells.append(text(row.checkpoints) or "-")
    return cells


def _plain(text: str) -> str:
    """Keep a name on one line and inside its Markdown cell."""
    return "".join(c if c.isprintable() else "?" for c in text).replace("|", "\\|").replace("<", "&lt;")


def comparison(report: Report, form: str) -> str:
    """Write a family of comparisons as `md`, `csv` or `latex`."""
    if form == "csv":
        content = report.as_json()
        shared = {name: content[name] for name in ("board", "dataset", "simulated", "protocol", "metric", "correction")}
        out = io.StringIO()
        rows = [shared | row for row in content["rows"]]
        writer = csv.DictWriter(out, list(rows[0]) if rows else list(shared), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: _harmless(v) if isinstance(v, str) else v for k, v in row.items()} for row in rows)
        return out.getvalue()
    name = NAMES.get(report.metric, report.metric)
    header = ["a", "b", *(["slice"] if any(line.part for line in report.lines) else []), f"{name} a", f"{name} b"]
    header += ["a - b [95%]", "relative", "p (t)", "p (sign flip)"]
    header += [f"p ({report.correction})"] if report.correction else []
    header += ["detectable", "users"]
    body = [_line(line, "slice" in header) for line in report.lines]
    facts = report.facts
    corrected = f", {report.correction}" if report.correction else ""
    simulated = " (simulated data)" if facts["simulated"] else ""
    title = f"{facts['dataset']}{simulated}, {facts['protocol']}, board {facts['board'][:12]}"
    notes = [
        f"{facts['folds']} folds, ranked users {', '.join(map(str, facts['users']))}. The user is the unit: folds and "
        "seeds of one stay together. detectable: the smallest true difference found with power 0.8.",
        *([f"* differs at the 5% level (sign-flip permutation over users{corrected})."] if "*" in str(body) else []),
        *report.notes,
    ]
    if form == "latex":
        table = tabulate(
            [[_tex(cell) for cell in row] for row in body],
            [_tex(cell) for cell in header],
            tablefmt="latex_raw",
            disable_numparse=True,
        )
        return "\n".join(
            [r"\begin{table}", table, rf"\caption{{{_tex(' '.join([title + '.', *notes]))}}}", r"\end{table}"]
        )
    plain = [[_plain(cell) for cell in row] for row in body]
    table = tabulate(plain, header, tablefmt="github", disable_numparse=True)
    return "\n".join([f"**{_plain(title)}**", "", table, "", *map(_plain, notes)])


def _line(line: Line, with_part: bool) -> list[str]:
    """Cells of one comparison."""
    found = line.found
    cells = [line.a, line.b, *([line.part] if with_part else []), f"{found.mean_a:.4f}", f"{found.mean_b:.4f}"]
    cells.append(f"{found.effect:+.4f} [{found.low:+.4f}, {found.high:+.4f}]")
    cells.append("-" if math.isnan(found.relative) else f"{found.relative:+.1%}")
    cells += [f"{found.p_t:.4f}", f"{found.p_permutation:.4f}"]
    if line.p_adjusted is not None:
        cells.append(f"{line.p_adjusted:.4f}")
    cells[-1] += " *" if line.significant else ""
    return [*cells, f"{found.detectable:.4f}", str(found.n_users)]


def _title(board: Board) -> str:
    simulated = " (simulated data)" if board.simulated else ""
    return f"**{board.facts['dataset']}**{simulated}, {board.facts['protocol']}, board {board.fingerprint[:12]}"


def _headline(board: Board) -> list[str]:
    facts, infos = board.facts, board.facts["fold_info"]
    users = ", ".join(str(info.get("users", "?")) for info in infos)
    targets = ", ".join(f"{info.get('targets_per_user_mean', float('nan')):.1f}" for info in infos)
    median = ", ".join(f"{info.get('targets_per_user_median', float('nan')):.0f}" for info in infos)
    lines = []
    if board.simulated:
        lines.append(
            "Simulated world: the order of extractors here tests the plumbing, it is no evidence about extractors."
        )
    lines.append(f"{facts['folds']} folds, ranked users {users}; targets per user mean {targets}, median {median}.")
    if infos and "candidates" in infos[-1]:
        share = ", ".join(f"{info.get('released_in_window', 0):.0%}" for info in infos)
        lines.append(f"Candidates: {infos[-1]['candidates']}; targets released inside the window: {share}.")
    lines.append(f"Seeds: {', '.join(map(str, facts['seeds'])) or 'none'}. Full ranking, seen items masked.")
    return lines


def _notes(board: Board) -> list[str]:
    notes = []
    if any("pocket" in row.checkpoints for row in board.rows):
        notes.append("pocket: small checkpoints trained from scratch for this demo, never comparable with real ones.")
    if any("random" in row.checkpoints for row in board.rows):
        notes.append("random: the same architecture with random weights.")
    if len(board.facts["seeds"]) < 3:
        notes.append("Fewer than three seeds: no significance marks.")
    elif any(row.significant for row in board.rows):
        notes.append(
            "* nDCG@10 differs from the id row at the 5% level (sign-flip permutation over users, Holm over the board)."
        )
    if board.facts["retrospective"]:
        notes.append(
            f"LEAKS THE FUTURE by construction: {board.facts['protocol']} fits on events later than targets. "
            "Compare with published numbers of the same protocol only."
        )
    if board.facts["audit_failures"]:
        notes.append(f"LEAK AUDIT: {board.facts['audit_failures']} checks failed, see the records.")
    for row in board.rows:
        if row.twin is not None:
            d = row.twin
            interval = f"{d['value']:+.4f} [{d['low']:+.4f}, {d['high']:+.4f}], p {d['p']:.4f}"
            notes.append(f"Content: {_plain(row.label)} minus its shuffled twin: nDCG@10 {interval}.")
    notes += [
        f"DEGENERATE features: {_plain(row.label)}: {_plain(row.degenerate)}." for row in board.rows if row.degenerate
    ]
    ceiling = next((row.high[PRIMARY] for row in board.rows if row.model == "oracle"), None)
    above = [row.label for row in board.rows if ceiling is not None and row.low[PRIMARY] > ceiling]
    if above:
        notes.append(f"ERROR: {', '.join(map(_plain, above))} ranks better than the oracle, which nothing can.")
    tied = [f"{_plain(row.label)} {row.tie_share:.0%}" for row in board.rows if row.tie_share > 0.01]
    if tied:
        notes.append(f"Top tens decided by the tie-break: {', '.join(tied)}.")
    small = [i for i, info in enumerate(board.facts["fold_info"]) if 0 < info.get("users", 1000) < 100]
    if small:
        notes.append(f"Underpowered: under 100 users in fold(s) {', '.join(map(str, small))}.")
    notes += [f"not ranked: {_plain(row.label)}: {_plain(row.reason)}" for row in board.unranked]
    return notes


def _csv(board: Board) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    header = [
        "board",
        "dataset",
        "simulated",
        "protocol",
        "rank",
        "model",
        "extractor",
        "fusion",
        "checkpoints",
        "seeds",
    ]
    for metric in METRICS:
        header += [metric, f"{metric}_low", f"{metric}_high", f"{metric}_seed_sd"]
    header += ["diff_to_id", "diff_low", "diff_high", "p_permutation", "p_t", "p_holm"]
    header += [
        "ndcg@10_warm",
        "ndcg@10_cold",
        "coverage",
        "degenerate",
        "parameters",
        "train_seconds",
        "not_ranked_because",
    ]
    writer.writerow(header)
    for rank, row in [*enumerate(board.rows, 1), *(("", row) for row in board.unranked)]:
        cells = [board.fingerprint, board.facts["dataset"], board.simulated, board.facts["protocol"], rank]
        cells += [_harmless(v) for v in (row.model, row.extractor, row.fusion, row.checkpoints)] + [len(row.seeds)]
        for metric in METRICS:
            cells += [part.get(metric, "") for part in (row.mean, row.low, row.high, row.seed_sd)]
        difference = row.difference or {}
        cells += [difference.get(name, "") for name in ("value", "low", "high", "p", "p_t", "p_holm")]
        cells += [row.slices.get("warm", ""), row.slices.get("cold", ""), row.coverage]
        cells += [_harmless(row.degenerate), row.parameters, row.seconds]
        writer.writerow([*cells, _harmless(row.reason)])
    return out.getvalue()


def _harmless(text: str) -> str:
    """Keep spreadsheets from running a name as a formula."""
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") and text != "-" else text


def _latex(board: Board) -> str:
    best = [max((row.mean[m] for row in board.rows), default=0.0) for m in METRICS]
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        r"\begin{tabular}{lllrrr}",
        r"\toprule",
        "model & features & fusion & " + " & ".join(NAMES[m] for m in METRICS) + r" & $\Delta$ to id \\",
        r"\midrule",
    ]
    for row in board.rows:
        cells = [_tex(row.model), _tex(row.extractor), _tex(row.fusion)]
        for metric, top in zip(METRICS, best, strict=True):
            value = f"{row.mean[metric]:.4f}"
            cells.append(rf"\textbf{{{value}}}" if row.mean[metric] == top else value)
        mark = "$^{*}$" if row.significant else ""
        cells.append(f"${row.difference['value']:+.4f}$" + mark if row.difference else "--")
        lines.append(" & ".join(cells) + r" \\")
    caption = " ".join([_title(board).replace("**", ""), *_headline(board), *_notes(board)])
    lines += [r"\bottomrule", r"\end{tabular}", rf"\caption{{{_tex(caption)}}}"]
    lines += [rf"\label{{tab:{board.fingerprint[:12]}}}", r"\end{table}", ""]
    return "\n".join(lines)


_TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    c: "\\" + c for c in "&%$#_{}"
}


def _tex(text: str) -> str:
    """Escape every character that TeX would act on."""
    return "".join(_TEX.get(c, c if c.isprintable() else "?") for c in text)
