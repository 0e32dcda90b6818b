"""A second process of one site for tests: `python -m tests.attacks.other_process HOME PLAN`.

It says `ready`; for every line that comes, a request in hexadecimal, it answers the message's length, or the refusal.
"""

import sys
from pathlib import Path

from client.home import Home
from common.errors import ConsiliumError
from common.messages import wire
from common.plans.plan import RunPlan
from tests.admitted import home_of
from tests.attacks.hostile import tell


def main(home: Home, plan: RunPlan) -> None:
    """Answer until the input ends."""
    print("ready", flush=True)
    for line in sys.stdin:
        request = wire.decode_request(bytes.fromhex(line))
        try:
            print(tell(home, plan, request).hex(), flush=True)
        except ConsiliumError as error:
            print(getattr(error, "cause", error.code), flush=True)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    paper = (folder / "plans" / sys.argv[2] / "plan.json").read_bytes()
    main(home_of(folder), RunPlan.load_verified(paper, home_of(folder).pins))
