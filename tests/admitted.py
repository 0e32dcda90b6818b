"""Sites whose keys open for a test, as for somebody whom the gate let in for everything."""

from pathlib import Path

from client.admission import Admission
from client.home import Home


def home_of(folder: Path) -> Home:
    """A site's folder with its keys; the folder need not be there yet."""
    return Home(folder, Admission.grant(folder, "test", "tester", "data-officer", 1, 0))
