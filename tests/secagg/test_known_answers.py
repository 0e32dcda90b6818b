"""What standards publish comes out of the same functions that the protocol uses."""

import hashlib

import numpy as np
import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from common.errors import IdentityError
from common.secagg import masks
from common.trust import keys

h = bytes.fromhex


def test_x25519_gives_the_shared_secret_of_rfc_7748_section_6_1() -> None:
    alice = keys.exchange_key(h("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"))
    bob = keys.exchange_key(h("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"))
    alice_public = h("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    bob_public = h("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
    shared = h("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    assert keys.exchange_public(alice) == alice_public
    assert keys.exchange_public(bob) == bob_public
    assert keys.shared_secret(alice, bob_public, who="bob") == shared
    assert keys.shared_secret(bob, alice_public, who="alice") == shared


def test_x25519_gives_what_rfc_7748_section_5_2_iterates_to() -> None:
    k = u = (9).to_bytes(32, "little")
    for round_number in range(1000):
        k, u = keys.shared_secret(keys.exchange_key(k), u, who="itself"), k
        if round_number == 0:
            assert k == h("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079")
    assert k == h("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51")


RFC_8032 = {
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60": (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb": (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7": (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
}


@pytest.mark.parametrize("secret", RFC_8032)
def test_ed25519_signs_as_in_rfc_8032_section_7_1(secret: str) -> None:
    public, message, signature = map(h, RFC_8032[secret])
    identity = Ed25519PrivateKey.from_private_bytes(h(secret))
    assert keys.public_of(identity) == public
    assert keys.sign(identity, message) == signature
    keys.verify(public, signature, message, who="the author", what="the example")
    with pytest.raises(IdentityError, match="not the author's"):
        keys.verify(public, signature, message + b"x", who="the author", what="the example")


RFC_5869 = [
    ("0b" * 22, "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9", 42,
     "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"),
    (bytes(range(80)).hex(), bytes(range(0x60, 0xB0)).hex(), bytes(range(0xB0, 0x100)).hex(), 82,
     "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8"
     "367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"),
    ("0b" * 22, "", "", 42, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"),
]  # fmt: skip


@pytest.mark.parametrize(("secret", "salt", "info", "length", "expected"), RFC_5869)
def test_hkdf_derives_as_in_rfc_5869_appendix_a(secret: str, salt: str, info: str, length: int, expected: str) -> None:
    assert HKDF(SHA256(), length, h(salt), h(info)).derive(h(secret)) == h(expected)


def test_our_derivation_is_hkdf_with_our_name_before_the_info() -> None:
    assert keys.derive(b"secret", b"salt", b"info") == HKDF(SHA256(), 32, b"salt", b"consilium/secagg/1/info").derive(
        b"secret"
    )


def test_aes_256_in_counter_mode_gives_nist_sp_800_38a_f_5_5() -> None:
    key = h("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    plain = h(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    )
    cipher = h(
        "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
        "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
    )
    counter = h("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    assert Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor().update(plain) == cipher


def test_our_masks_are_encrypted_counters_leaf_by_leaf() -> None:
    key = hashlib.sha256(b"a key").digest()
    blocks = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305
    assert masks.stream(key).update(bytes(64)) == b"".join(blocks.update(i.to_bytes(16, "big")) for i in range(4))
    vector = np.zeros(2 * masks.LEAF_BYTES + 40, np.uint8)
    masks.apply(vector, [masks.Mask(key, subtract=False)])
    for leaf in range(3):  # counted as in NIST SP 800-38D: from 2 on, after a nonce, which is the leaf's number
        stretch = b"".join(blocks.update(leaf.to_bytes(12, "big") + (2 + i).to_bytes(4, "big")) for i in range(3))
        assert vector[leaf * masks.LEAF_BYTES :][:40].tobytes() == stretch[:40]
    last = blocks.update(bytes(12) + (1 + masks.LEAF_BYTES // 16).to_bytes(4, "big"))
    assert vector[masks.LEAF_BYTES - 16 : masks.LEAF_BYTES].tobytes() == last


def test_aes_256_in_galois_counter_mode_gives_case_16_of_its_specification() -> None:
    plain = h(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    )
    sealed = AESGCM(h("feffe9928665731c6d6a8f9467308308" * 2)).encrypt(
        h("cafebabefacedbaddecaf888"), plain, h("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    )
    assert sealed.hex() == (
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
        "76fc6ece0f4e1768cddf8853bb2d551b"
    )


def test_chacha20_poly1305_gives_rfc_8439_section_2_8_2() -> None:
    key, nonce = bytes(range(0x80, 0xA0)), h("070000004041424344454647")
    text = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
        b"sunscreen would be it."
    )
    sealed = ChaCha20Poly1305(key).encrypt(nonce, text, h("50515253c0c1c2c3c4c5c6c7"))
    assert sealed[-16:] == h("1ae10b594f09e26a7e902ecbd0600691")
    assert sealed[:16] == h("d31a8d34648e60db7b86afbc53ef7ec2")


def test_what_is_sealed_once_opens_only_in_its_context() -> None:
    box = keys.seal_once(b"k" * 32, b"content", b"context")
    assert keys.open_once(b"k" * 32, box, b"context", who="the sender", what="box") == b"content"
    with pytest.raises(IdentityError, match="from the sender cannot be opened"):
        keys.open_once(b"k" * 32, box, b"other", who="the sender", what="box")


def test_digests_of_different_fields_differ_even_where_their_bytes_are_the_same() -> None:
    found = {
        keys.digest("a", b"bc"),
        keys.digest("a", b"b", b"c"),
        keys.digest("ab", b"c"),
        keys.digest("a", b"bc", b""),
    }
    assert len(found) == 4
    content = b"".join(len(f).to_bytes(8, "little") + f for f in (b"consilium/secagg/1/a", b"b", b"c"))
    assert keys.digest("a", b"b", b"c") == hashlib.sha256(content).digest()


def test_blake3_gives_its_published_answers() -> None:
    """test_vectors.json of the BLAKE3 team, key-less, inputs of 0 and 1 bytes of the counting pattern."""
    assert blake3(b"").hexdigest() == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert blake3(b"\x00").hexdigest() == "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"
