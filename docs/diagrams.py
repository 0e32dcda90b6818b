"""Draw the diagrams of docs/secure-aggregation.md from the tables of the protocol's transitions.

python docs/diagrams.py            writes them into the page
python docs/diagrams.py --check    fails where the page is not what the tables say
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from common.secagg.stages import COORDINATOR, SITE, diagram  # noqa: E402

PAGE = ROOT / "docs" / "secure-aggregation.md"


def drawn(page: str) -> str:
    """The page with both diagrams in their places."""
    for name, picture in (("site", diagram(SITE)), ("coordinator", diagram(COORDINATOR))):
        place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        page = place.sub(lambda m, p=picture: f"{m[1]}```mermaid\n{p}\n```\n{m[2]}", page)
    return page


def main() -> None:
    """Write, or check."""
    page = PAGE.read_text(encoding="utf-8")
    if "--check" not in sys.argv:
        PAGE.write_text(drawn(page), encoding="utf-8")
    elif drawn(page) != page:
        sys.exit(f"{PAGE.name} does not show the protocol's tables: run `python docs/diagrams.py`.")


if __name__ == "__main__":
    main()
