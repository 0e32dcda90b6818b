"""What every command line does with an error that its user can mend: one message, an exit status, no traceback."""

import sys
from collections.abc import Callable

from common.errors import ConsiliumError


def exit_status(run: Callable[[], int], interrupted: str) -> int:
    """Run a command. 2 for an error that the user can mend, 130 when interrupted, else what the command returns."""
    try:
        return run()
    except ConsiliumError as error:
        print(f"error: {error} [{error.code}: docs/errors.md]", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or 'a file'}: {error.strerror or error}.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\ninterrupted; {interrupted}", file=sys.stderr)
        return 130
