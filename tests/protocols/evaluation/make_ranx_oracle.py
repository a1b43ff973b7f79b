"""Write ranx_oracle.json: what ranx (with numba, which this project does not need) makes of 50 ranking problems.

Run in an environment of its own, from the repository root:

    uv run --isolated --no-project --with ranx python tests/protocols/evaluation/make_ranx_oracle.py

Scores have ties; they are broken by a random order before ranx sees them, as strictly falling scores.
"""

import json
from pathlib import Path

import numpy as np
from ranx import Qrels, Run, evaluate

METRICS = ("hit_rate@10", "hit_rate@20", "ndcg@10", "ndcg@20", "recall@10", "mrr@10")


def problems(rng):
    for _ in range(50):
        users, items = int(rng.integers(2, 12)), int(rng.integers(12, 60))
        scores = rng.integers(0, 8, (users, items))
        lists = [np.lexsort((rng.permutation(items), -row)) for row in scores]
        most = min(14, items // 2)
        yield [(ranked, rng.choice(items, int(rng.integers(1, most)), replace=False)) for ranked in lists]


def main():
    qrels, run, ranks = {}, {}, []
    for number, users in enumerate(problems(np.random.default_rng(0))):
        ranks.append([])
        for user, (ranked, targets) in enumerate(users):
            query = f"{number:02d}-{user:02d}"
            qrels[query] = {str(t): 1 for t in targets}
            run[query] = {str(item): float(1000 - place) for place, item in enumerate(ranked)}
            ranks[-1].append([int(np.flatnonzero(ranked == t)[0]) + 1 for t in targets])
    values = evaluate(Qrels(qrels), Run(run), list(METRICS), return_mean=False, make_comparable=True)
    # ranx sorts queries by name, which is the order in which they were made
    starts = np.cumsum([0, *(len(r) for r in ranks)])
    content = [
        {"ranks": mine, **{m: [float(v) for v in values[m][a:b]] for m in METRICS}}
        for mine, a, b in zip(ranks, starts, starts[1:], strict=False)
    ]
    path = Path(__file__).with_name("ranx_oracle.json")
    path.write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
