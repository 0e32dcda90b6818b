"""The tree and its proofs: RFC 6962's known answers, and what no proof can show."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.audit.merkle_tree import EMPTY, Frontier, Tree, leaf_hash, node_hash, verify_consistency
from common.errors import AuditError
from tests.audit.log_of import KNOWN

ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
CONSISTENCIES = {
    (1, 1): (),
    (1, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (6, 8): (
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 5): (
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
}


def tree_of(entries: list[bytes]) -> Tree:
    tree = Tree()
    for entry in entries:
        tree.append(leaf_hash(entry))
    return tree


def root_by_definition(entries: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if len(entries) < 2:
        return leaf_hash(entries[0]) if entries else EMPTY
    middle = 1
    while 2 * middle < len(entries):
        middle *= 2
    return node_hash(root_by_definition(entries[:middle]), root_by_definition(entries[middle:]))


def hashes(told: tuple[str, ...]) -> list[bytes]:
    return [bytes.fromhex(each) for each in told]


def test_roots_and_proofs_are_the_known_ones() -> None:
    tree = tree_of(KNOWN)
    assert [tree.root(size).hex() for size in range(9)] == list(ROOTS)
    assert {at: tree.consistency(*at) for at in CONSISTENCIES} == {
        at: hashes(told) for at, told in CONSISTENCIES.items()
    }


def test_every_root_is_the_definition_s_and_appending_needs_the_frontier_alone() -> None:
    entries, frontier = [bytes([i]) for i in range(70)], Frontier()
    tree = tree_of(entries)
    for size in range(71):
        assert tree.root(size) == root_by_definition(entries[:size]) == frontier.root
        frontier = Frontier(frontier.size, frontier.peaks)  # as it is read back
        frontier.append(leaf_hash(bytes([size])))


def test_every_entry_and_every_earlier_tree_has_its_proof_and_no_other_has() -> None:
    entries = [bytes([i]) for i in range(20)]
    tree = tree_of(entries)
    for size in range(1, 21):
        root = tree.root(size)
        for old in range(size + 1):
            verify_consistency(old, tree.root(old), size, root, tree.consistency(old, size))
            if old not in (0, size):
                for other in {*range(size + 1)} - {old}:
                    with pytest.raises(AuditError):
                        verify_consistency(old, tree.root(other), size, root, tree.consistency(old, size))


@given(st.data())
def test_a_changed_proof_or_root_shows_nothing(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 40))
    tree = tree_of([bytes([i]) for i in range(size)])
    old = data.draw(st.integers(1, size - 1))
    proof = tree.consistency(old, size)
    at, bit = data.draw(st.integers(0, len(proof))), data.draw(st.integers(0, 255))
    changed = [*proof, tree.root(size)]
    changed[at] = (int.from_bytes(changed[at], "big") ^ 1 << bit).to_bytes(32, "big")
    with pytest.raises(AuditError):
        verify_consistency(old, tree.root(old), size, changed[-1], changed[:-1])
    for other in (proof[1:], proof[:-1], [*proof, tree.root(size)], proof[::-1] if len(proof) > 1 else [b""]):
        with pytest.raises(AuditError):
            verify_consistency(old, tree.root(old), size, tree.root(size), other)


@given(st.integers(-2, 9), st.integers(-2, 9), st.lists(st.binary(max_size=33), max_size=5))
def test_no_proof_whatever_ends_in_another_error(one: int, two: int, proof: list[bytes]) -> None:
    tree = tree_of(KNOWN)
    with suppress(AuditError):
        verify_consistency(one, leaf_hash(b"\xff"), two, tree.root(), proof)
        pytest.fail("a tree that never was")
    with suppress(ValueError):
        tree.consistency(one, two)
    with suppress(ValueError):
        Frontier(one, proof)
