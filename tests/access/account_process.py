"""One system user's process, which a test drives: a line of JSON is a command line, or Python to be run there."""

import contextlib
import io
import json
import os
import sys
import time
from pathlib import Path


def keep_door(folder: str) -> None:
    """Be the site's resident process, as far as its door goes."""
    from client.access.doorkeeper import Doorkeeper
    from client.home import SiteFolder
    from client.memory_guard import guard_process

    guard_process()
    with Doorkeeper(SiteFolder(Path(folder))).open():
        print("ready", flush=True)
        sys.stdin.read()


def serve() -> None:
    """Do as the lines of standard input say; answer each with one line."""
    from client.__main__ import main

    print("ready", flush=True)
    for line in sys.stdin:
        order, answers = json.loads(line), sys.stdout
        out, err, places = io.StringIO(), io.StringIO(), {"os": os, "time": time, "Path": Path, "result": None}
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                if isinstance(order, list):
                    places["result"] = main(order)
                else:
                    exec(order, places)  # noqa: S102 (what the test wrote)
            except SystemExit as error:
                places["result"] = error.code
            except Exception as error:
                places["result"] = f"{type(error).__name__}: {error}"
        print(json.dumps([places["result"], out.getvalue(), err.getvalue()]), file=answers, flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        keep_door(sys.argv[1])
    else:
        serve()
