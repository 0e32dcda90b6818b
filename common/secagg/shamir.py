"""Shamir sharing over GF(2**255 - 19): splits a secret of 31 bytes so that any t holders rebuild it. CACM 1979.

A holder's share is the value of a random polynomial of degree t - 1 at its number 1, 2, …; the secret is at 0.
Wrong shares are found by decoding the values as a Reed-Solomon word: Gao, 2003.
"""

from collections.abc import Mapping, Sequence

from common.errors import ShareError

# t points fix a polynomial of degree t - 1, and its value at 0 with it. With t - 1 points every value at 0 is still
# possible, and each by exactly one polynomial: fewer than t holders learn nothing at all, however long they compute.
P = 2**255 - 19
SECRET_BYTES, SHARE_BYTES = 31, 32  # 2**248 < P: every 31 bytes are an element of the field
COEFFICIENT_BYTES = 48  # reduced mod P: further from uniform by less than 2**-128

Polynomial = list[int]
"""Coefficients, the constant first, without zeros at the end."""


def polynomial(secret: bytes, threshold: int, random: bytes) -> Polynomial:
    """A random polynomial of degree below `threshold` with the secret at 0.

    Args:
        random: (threshold - 1) × 48 bytes, used for nothing else.
    """
    if len(secret) != SECRET_BYTES or len(random) != (threshold - 1) * COEFFICIENT_BYTES:
        raise ValueError(f"a secret of {len(secret)} bytes, {len(random)} random bytes for a threshold of {threshold}")
    pieces = (random[i : i + COEFFICIENT_BYTES] for i in range(0, len(random), COEFFICIENT_BYTES))
    return [int.from_bytes(secret, "little"), *(int.from_bytes(piece, "little") % P for piece in pieces)]


def share(coefficients: Polynomial, holder: int) -> bytes:
    """The share of one holder, numbered from 1."""
    value = 0
    for c in reversed(coefficients):
        value = value * holder + c  # reduced once at the end: holders are small, so this grows by a byte a step
    return (value % P).to_bytes(SHARE_BYTES, "little")


def at_zero(holders: Sequence[int]) -> list[int]:
    """Lagrange's coefficients for the value at 0; one set serves all secrets that the same holders share."""
    # Σ yᵢ Π j / (j - i) over j ≠ i. The factors depend on the holders alone, so a round inverts once a holder, and then
    # rebuilds every secret by t multiplications.
    coefficients = []
    for i in holders:
        over = under = 1
        for j in holders:
            if j != i:
                over, under = over * j % P, under * (j - i) % P
        coefficients.append(over * pow(under, -1, P) % P)
    return coefficients


def combine(shares: Sequence[bytes], coefficients: Sequence[int]) -> bytes:
    """The 31 bytes that these shares stand for; whether they are the right ones, a commitment must tell.

    Raises:
        ShareError: if they stand for no 31 bytes at all, so that at least one share is wrong.
    """
    pairs = zip(shares, coefficients, strict=True)
    value = sum(int.from_bytes(s, "little") * c for s, c in pairs) % P
    # A wrong share moves the value anywhere in the field; 127 times in 128 that is beyond 31 bytes and shows here.
    if value >> (8 * SECRET_BYTES):
        raise ShareError("bad-share", "the shares of a secret do not fit each other: at least one is wrong.")
    return value.to_bytes(SECRET_BYTES, "little")


def corrected(shares: Mapping[int, bytes], threshold: int) -> tuple[bytes, set[int]]:
    """The secret in spite of wrong shares, and the holders who gave them; up to half of the spare shares may be wrong.

    Args:
        shares: by holder, numbered from 1; at least `threshold`.

    Raises:
        ShareError: if too many are wrong to tell which.
    """
    holders = list(shares)
    values = [int.from_bytes(shares[h], "little") % P for h in holders]
    ahead, behind = _vanishing(holders), _through(holders, values)
    if len(holders) < threshold:
        raise ShareError("bad-share", f"{len(holders)} shares, expected {threshold} at least.")
    # Gao: Euclid's algorithm on Π (x - xᵢ) and the polynomial through all points, stopped half way. If at most
    # (n - t) / 2 values are wrong, v then vanishes at the wrong holders, and behind / v is the true polynomial.
    u, v = [], [1]
    while len(behind) - 1 >= (len(holders) + threshold) / 2:
        quotient, rest = _divide(ahead, behind)
        ahead, behind = behind, rest
        u, v = v, _minus(u, _times(quotient, v))
    message, rest = _divide(behind, v)
    if rest or len(message) > threshold or (message and message[0] >> (8 * SECRET_BYTES)):
        raise ShareError(
            "bad-share", f"too many of {len(shares)} shares (threshold {threshold}) are wrong to tell which."
        )
    culprits = {h for h in holders if share(message, h) != shares[h]}
    return (message[0] if message else 0).to_bytes(SECRET_BYTES, "little"), culprits


def _vanishing(points: Sequence[int]) -> Polynomial:
    product = [1]
    for x in points:
        product = _times(product, [-x % P, 1])
    return product


def _through(points: Sequence[int], values: Sequence[int]) -> Polynomial:
    """The polynomial through all points, by Newton's interpolation."""
    result: Polynomial = []
    basis = [1]
    for x, y in zip(points, values, strict=True):
        factor = (y - _at(result, x)) * pow(_at(basis, x), -1, P) % P
        result = _minus(result, [-factor * b % P for b in basis])
        basis = _times(basis, [-x % P, 1])
    return result


def _at(p: Polynomial, x: int) -> int:
    value = 0
    for c in reversed(p):
        value = (value * x + c) % P
    return value


def _times(a: Polynomial, b: Polynomial) -> Polynomial:
    product = [0] * max(len(a) + len(b) - 1, 0)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            product[i + j] = (product[i + j] + x * y) % P
    return _trimmed(product)


def _minus(a: Polynomial, b: Polynomial) -> Polynomial:
    n = max(len(a), len(b))
    return _trimmed([((a[i] if i < len(a) else 0) - (b[i] if i < len(b) else 0)) % P for i in range(n)])


def _divide(a: Polynomial, b: Polynomial) -> tuple[Polynomial, Polynomial]:
    rest, quotient = list(a), [0] * max(len(a) - len(b) + 1, 0)
    lead = pow(b[-1], -1, P)
    for shift in reversed(range(len(quotient))):
        factor = rest[shift + len(b) - 1] * lead % P
        quotient[shift] = factor
        for i, c in enumerate(b):
            rest[shift + i] = (rest[shift + i] - factor * c) % P
    return _trimmed(quotient), _trimmed(rest)


def _trimmed(p: Polynomial) -> Polynomial:
    while p and p[-1] == 0:
        p.pop()
    return p
