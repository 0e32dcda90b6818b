"""SIGKILL while a hospital answers under a budget of privacy: does its account ever say less than has left?

    python benchmarks/privacy_ledger.py [--kills 500]        some minutes

Processes are killed at random moments: answering for training or evaluation, two at once, while a backup is taken,
while keys change, and while the site is restored from its backup, after which it asks what it had signed. What has left
is counted outside the killed process. After every kill the account on the disk is compared with it; now and then a
question that would pass the budget is asked, and has to be refused.

What this does not show: a power failure, in which a disk forgets what was not flushed; the order of flushes is kept.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from itertools import cycle
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.privacy.account_kills import KINDS, LIMIT, Hospital, episode

EVERY = 20
"""Kills between two questions that would pass the budget."""


def main() -> None:
    """Kill, and print what the account said."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500, metavar="N")
    wanted, draw = parser.parse_args().kills, random.Random(1)
    kills, answers, began = Counter[str](), 0, time.perf_counter()
    smaller = tried = refused = 0
    with tempfile.TemporaryDirectory() as temporary:
        hospital = Hospital(Path(temporary) / "0", draw)
        kinds = cycle(KINDS)
        while kills.total() < wanted:
            kind = next(kinds)
            kills[kind] += episode(hospital, kind)
            smaller += hospital.is_smaller()
            if kills.total() // EVERY > (tried + hospital.over_budget) // 2:
                hospital.try_over_budget()
            if max(hospital.spent().values()) > 0.9 * LIMIT:
                answers += sum(hospital.outside.left.values())
                tried, refused = tried + hospital.over_budget, refused + hospital.refusals
                hospital = Hospital(Path(temporary) / str(kills.total()), draw)
        answers += sum(hospital.outside.left.values())
        tried, refused = tried + hospital.over_budget, refused + hospital.refusals
    print(", ".join(f"{kind} {kills[kind]}" for kind in KINDS))
    print(f"{answers:,} answers left; {time.perf_counter() - began:.0f} s")
    print(json.dumps(
        {"kills": kills.total(), "smaller_on_disk": smaller, "over_budget_refused": f"{refused} of {tried}"}
    ))  # fmt: skip


if __name__ == "__main__":
    main()
