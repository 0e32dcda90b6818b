"""A member's new key, in the word of its old one: without it other sites do not follow a roster that gives it another.

Who holds the roots could else put a key of their own under a hospital's name.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import PolicyError, WireError
from common.trust.documents import SignedDocument, fingerprint, read_document, sign_document
from common.trust.keys import KEY_BYTES
from common.trust.roster import Roster

Move = tuple[str, bytes, bytes]
"""A site, its old key and its new one."""


def rekey_paper(site: str, old: Ed25519PrivateKey, new: bytes) -> SignedDocument:
    """The old key's word that the new one is the site's."""
    content = {"site": site, "old": old.public_key().public_bytes_raw().hex(), "new": new.hex()}
    return sign_document("rekey", content, [old])


def read_rekey(file: bytes) -> Move:
    """What a paper says, if the old key has signed it.

    Raises:
        WireError: it is none.
        IdentityError: the old key has not signed it.
    """
    document = read_document(file, "rekey")
    content: dict[str, Any] = document.content
    try:
        site, old, new = str(content["site"]), bytes.fromhex(content["old"]), bytes.fromhex(content["new"])
        if len(old) != KEY_BYTES or len(new) != KEY_BYTES:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise WireError("a paper on new keys that is none. Make it again: client rekey.") from None
    document.verify([old], f"the old key of {site}")
    return site, old, new


def refuse_swapped_keys(
    before: Roster, after: Roster, moves: Iterable[Move], accepted: Mapping[str, bytes], site_name: str
) -> None:
    """Refuse a roster that gives a member another key than before without that key's word, or drops it.

    Args:
        moves: what old keys have said.
        accepted: keys that people here have accepted, by site.
        site_name: the site itself, which knows its own keys.

    Raises:
        PolicyError: `swapped-key`, naming the site.
    """
    statements, now = set(moves), {member.site: member.key for member in after.members}
    for member in before.members:
        key = now.get(member.site, b"")
        reached, new = {member.key}, {member.key}
        while new := {to for site, old, to in statements if site == member.site and old in reached} - reached:
            reached |= new
        if member.site != site_name and key not in reached and accepted.get(member.site) != key:
            what = f"gives {member.site} another key ({fingerprint(key)})" if key else f"no longer lists {member.site}"
            raise PolicyError(
                "swapped-key",
                f"roster {after.version} {what}, without the word of its old key. Telephone {member.site}; if it is "
                f"so, a data officer says: python -m client accept-key {member.site}",
            )
