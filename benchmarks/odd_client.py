"""`python -m client run` that can be made to hang, with a clock that can be wrong, and a note of what was sent.

For benchmarks/faults.py. Environment: ODD_CLOCK_S is added to every clock; in the folder ODD_FOLDER a file `hang` makes
the next computation hang (the file goes away), and `submits.jsonl` gets a line for each masked vector that is sent.
"""

import datetime
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
FOLDER, OFF_S = Path(os.environ["ODD_FOLDER"]), float(os.environ.get("ODD_CLOCK_S", "0"))

if OFF_S:
    right = time.time
    time.time = lambda: right() + OFF_S

    class OddDatetime(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]
            return datetime.datetime.fromtimestamp(time.time(), tz)

    import flwr.supercore.date as flowers_clock

    flowers_clock.now = lambda: OddDatetime.now(datetime.UTC)

from client.__main__ import main  # noqa: E402
from client.training.secure_site import SecuredSite  # noqa: E402
from client.training.site import Site  # noqa: E402

compute, submit = Site.contribute, SecuredSite.submit


def hanging(self: Site, *arguments: Any) -> Any:
    if (flag := FOLDER / "hang").exists():
        flag.unlink()
        time.sleep(86_400)
    return compute(self, *arguments)


def noted(self: SecuredSite, request: Any, *rest: Any) -> Any:
    out = submit(self, request, *rest)
    plan = self.binding.plan.digest
    with (FOLDER / "submits.jsonl").open("a") as file:
        file.write(json.dumps({"plan": plan, "asked": request.settings["asked"], "round": request.round}) + "\n")
    return out


Site.contribute = hanging  # type: ignore[method-assign, assignment]
SecuredSite.submit = noted  # type: ignore[method-assign, assignment]
sys.exit(main())
