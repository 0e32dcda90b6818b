"""`python -m client run`, with a note of how long each computation took: for benchmarks/deployment.py."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from client.__main__ import main  # noqa: E402
from client.training.site import Site  # noqa: E402

compute = Site.contribute


def timed(self: Site, *arguments: Any) -> Any:
    started = time.monotonic()
    try:
        return compute(self, *arguments)
    finally:
        with Path(os.environ["CONSILIUM_BENCHMARK_TIMES"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"at": time.time(), "seconds": time.monotonic() - started}) + "\n")


Site.contribute = timed  # type: ignore[method-assign, assignment]
sys.exit(main())
