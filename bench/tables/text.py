"""What tables of every format say: names, numbers, the lines above and below; and escaping, for names are hostile."""

from __future__ import annotations

from bench.boards.leaderboard import Board
from bench.boards.rows import CEILING

NAMES = {"hr": "HR", "ndcg": "nDCG", "recall": "recall", "mrr": "MRR"}
SIMULATED = "Simulated world: the order of extractors here tests the plumbing, it is no evidence about extractors."
#: Where a record does not say.
UNKNOWN = "unknown"
NONE = "-"


def metric_name(metric: str) -> str:
    """Name for people.

    Examples
    --------
    >>> metric_name("ndcg@10"), metric_name("hr@20_warm")
    ('nDCG@10', 'HR@20 warm')
    """
    name, _, rest = metric.partition("@")
    return f"{NAMES.get(name, name)}@{rest}".replace("_", " ") if rest else metric


def short(value: float | None) -> str:
    """A cost with three significant digits, `unknown` where no record says."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def signed(difference: dict[str, float] | None) -> str:
    """A difference with its interval."""
    if difference is None:
        return NONE
    return f"{difference['value']:+.4f} [{difference['low']:+.4f}, {difference['high']:+.4f}]"


def title(board: Board) -> str:
    """Dataset, protocol and fingerprint."""
    simulated = " (simulated data)" if board.simulated else ""
    return f"{board.facts['dataset']}{simulated}, {board.facts['protocol']}, board {board.fingerprint[:12]}"


def headline(board: Board) -> list[str]:
    """Lines above a table: what was ranked, among what, for whom; not escaped."""
    facts, infos = board.facts, board.facts["fold_info"]
    users = ", ".join(str(info.get("users", "?")) for info in infos)
    targets = ", ".join(f"{info.get('targets_per_user_mean', float('nan')):.1f}" for info in infos)
    median = ", ".join(f"{info.get('targets_per_user_median', float('nan')):.0f}" for info in infos)
    lines = []
    if board.simulated:
        lines.append(SIMULATED)
    lines.append(f"{facts['folds']} folds, ranked users {users}; targets per user mean {targets}, median {median}.")
    if infos and "candidates" in infos[-1]:
        share = ", ".join(f"{info.get('released_in_window', 0):.0%}" for info in infos)
        lines.append(f"Candidates: {infos[-1]['candidates']}; targets released inside the window: {share}.")
    lines.append(f"Seeds: {', '.join(map(str, facts['seeds'])) or 'none'}. Full ranking, seen items masked.")
    return lines


def notes(board: Board) -> list[str]:
    """Lines below a table: what its marks mean and what a reader must know; not escaped."""
    found = []
    name = metric_name(board.metric)
    tied = sum(row.tied is True for row in board.rows)
    if tied > 1:
        found.append(
            f"Rows marked = cannot be told apart in {name} from the best of them (sign-flip permutation over users, "
            "Holm over all rows against it, the ceiling left out)."
        )
    if any(row.twin for row in board.rows):
        found.append(
            "minus twin: what the content of the features is worth, by the same vectors on the wrong items (95% "
            "interval, uncorrected)."
        )
    if any("pocket" in row.checkpoints for row in board.rows):
        found.append("pocket: small checkpoints trained from scratch for this demo, never comparable with real ones.")
    if any("random" in row.checkpoints for row in board.rows):
        found.append("random: the same architecture with random weights.")
    if len(board.facts["seeds"]) < 3:
        found.append("Fewer than three seeds: no significance marks.")
    elif any(row.significant for row in board.rows):
        found.append(
            f"Rows marked * differ in {name} from {board.baseline} at the 5% level (sign-flip permutation over users, "
            "Holm over the board)."
        )
    if board.facts["retrospective"]:
        found.append(
            f"LEAKS THE FUTURE by construction: {board.facts['protocol']} fits on events later than targets. "
            "Compare with published numbers of the same protocol only."
        )
    if board.facts["audit_failures"]:
        found.append(f"LEAK AUDIT: {board.facts['audit_failures']} checks failed, see the records.")
    degenerate = dict.fromkeys((row.extractor, row.degenerate) for row in board.rows if row.degenerate)
    found += [f"DEGENERATE features: {extractor}: {why}." for extractor, why in degenerate]
    ceiling = next((row.high[board.metric] for row in board.rows if row.model == CEILING), None)
    above = [row.label for row in board.rows if ceiling is not None and row.low[board.metric] > ceiling]
    if above:
        found.append(f"ERROR: {', '.join(above)} ranks better than the oracle, which nothing can.")
    by_hash = [f"{row.label} {row.tie_share:.0%}" for row in board.rows if row.tie_share > 0.01]
    if by_hash:
        found.append(f"Top tens decided by the tie-break: {', '.join(by_hash)}.")
    small = [i for i, info in enumerate(board.facts["fold_info"]) if 0 < info.get("users", 1000) < 100]
    if small:
        found.append(f"Underpowered: under 100 users in fold(s) {', '.join(map(str, small))}.")
    found += [f"not ranked: {row.label}: {row.reason}" for row in board.unranked]
    return found


_MARKDOWN = {"\\": "\\\\", "|": "\\|", "`": "\\`", "<": "&lt;", ">": "&gt;"}


def plain(text: str) -> str:
    """Keep a name on one line, inside its Markdown cell, and without links, code or HTML."""
    text = "".join(_MARKDOWN.get(c, c if c.isprintable() else "?") for c in text)
    return text.replace("](", "]\\(")


def harmless(text: str) -> str:
    """Keep spreadsheets from running a name as a formula."""
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") and text != "-" else text


_TEX = (
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "]": "{]}"}
    | {c: "\\" + c for c in "&%$#_{}"}
)
# Letters that pdflatex typesets without further packages.
_ACCENTED = range(0xC0, 0x100)


def tex(text: str) -> str:
    """Escape every character that TeX would act on; `?` for those that pdflatex cannot typeset."""
    return "".join(_TEX.get(c, c if " " <= c <= "~" or (ord(c) in _ACCENTED and c.isalpha()) else "?") for c in text)
