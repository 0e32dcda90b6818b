"""A request to join may hold anything, signed with keys of its own: it is one error, never a traceback."""

import contextlib
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import ConfigError, ConsiliumError, IdentityError, WireError
from common.trust.documents import read_document, sign_document
from common.trust.joining import JoinRequest, checked_name

KEY, NODE = Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1())
GOOD = JoinRequest.write("Lisbon", "Ana", KEY, NODE)
DEEP: list = []
for _ in range(30):
    DEEP = [DEEP]
ODD = [
    None,
    True,
    0,
    -1,
    10**400,
    1.5,
    "",
    "x",
    "\ud800",
    "../..",
    "\x1b[2J",
    [],
    {},
    [1],
    {"a": 1},
    DEEP,
    "9" * 5000,
    "z" * 100_000,
]


@pytest.mark.parametrize("field", ["site", "contact", "identity", "node", "node_proof", "made_s", "rekey", "more"])
@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
def test_any_value_in_any_field_is_taken_or_refused(field, value):
    content = read_document(GOOD.file, "request").content | {field: value}
    paper = {"paper": "request", "content": content, "signatures": read_document(GOOD.file, "request").signatures}
    try:
        file = sign_document("request", content, [KEY]).encode()
    except (ConsiliumError, ValueError):  # which this program would not sign; somebody else's may
        paper["signatures"] = {key.hex(): value.hex() for key, value in paper["signatures"].items()}
        file = json.dumps(paper).encode()
    if content == read_document(GOOD.file, "request").content:
        assert JoinRequest.read(file).site == "Lisbon"
        return
    with contextlib.suppress(WireError, IdentityError, ConfigError):  # whatever else is raised fails here
        assert JoinRequest.read(file).site == content["site"]


def test_a_name_of_any_length_is_refused_in_one_line():
    with pytest.raises(ConfigError) as caught:
        checked_name("z" * 100_000, "site")
    assert len(str(caught.value)) < 300
