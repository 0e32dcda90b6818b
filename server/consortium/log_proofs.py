"""The coordinator's history as sites see it: the newest head of its log, and proof that it extends what they saw."""

from collections.abc import Sequence
from typing import Any

from common.audit.heads import log_key_paper
from common.audit.log_files import RESTORE
from common.audit.merkle_tree import Tree, leaf_hash
from common.errors import AuditError
from common.storage.files import replace
from common.trust.cosigning import RootPaper, SigningRequest
from server.consortium.home import Home


def vouchers(home: Home, *, anew: bool = False) -> list[RootPaper]:
    """The paper in which the roots vouch for the key of this coordinator's log, begun for it; none if they have.

    Args:
        anew: whether they have or not, for other roots will.
    """
    key = home.log.begin()
    return [] if home.voucher.exists() and not anew else [RootPaper.of(log_key_paper(key, home.pins.federation))]


def keep_voucher(home: Home, request: SigningRequest) -> None:
    """Put the signed voucher in its place, if the request has one."""
    if paper := request.paper("audit-key"):
        replace(home.voucher, paper.file)


class LogProofs:
    """What the gateway answers. It keeps the tree, and reads what is new; for one thread at a time."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._tree = Tree()
        self._offset = 0
        """Bytes of the log that are in the tree."""

    def head_with_proofs(self, size: int, statements: Sequence[Any] = ()) -> dict[str, Any]:
        """The newest head, for a site that saw one of so many entries; until the roots vouch for its key, none.

        Args:
            statements: what other sites say that they saw (`common.audit.witness_statement`), handed on with
                proofs.

        Raises:
            AuditError: the log is not what was written.
        """
        log = self._home.log
        if (head := log.head()) is None or not self._home.voucher.exists():
            return {"head": None}
        for _ in range(2):
            for line in log.lines(self._offset):
                self._tree.append(leaf_hash(line))
                self._offset += len(line) + 1
            if head.size <= len(self._tree) and self._tree.root(head.size) == head.root:
                answer: dict[str, Any] = {"head": head.document.to_json(), "proof": self._proof(size, head.size)}
                answer["witnesses"] = [
                    {"paper": statement, "proof": self._proof(statement["content"]["size"], head.size)}
                    for statement in statements
                ]
                return answer | {"voucher": self._home.voucher.read_text(encoding="utf-8")}
            self._tree, self._offset = Tree(), 0  # the log was put aside, or restored, while this process ran
        raise AuditError(f"{log.folder}: is not what was written. {RESTORE}")

    def _proof(self, known_size: int, size: int) -> list[str]:
        return [piece.hex() for piece in self._tree.consistency(known_size, size)] if 0 <= known_size <= size else []
