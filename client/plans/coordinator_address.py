"""Where the coordinator's gateway is: a site goes where its roots say, and back to no address that they left."""

from client.home import Home
from common.storage import tensorfile
from common.trust.address_change import AddressChange


def take_address(home: Home, file: bytes) -> bool:
    """Go to the coordinator's new address, if the roots say so and it is newer than what is known; whether it is.

    Raises:
        IdentityError: a root has not signed it.
        WireError: it is none of this consortium's.
    """
    path = home.folder / "address.moved"
    before = path.read_bytes() if path.exists() else b""
    if file == before:
        return False
    change = AddressChange.load_verified(file, home.pins)
    if before and change.number <= AddressChange.load(before).number:
        return False
    tensorfile.write_atomically(path, file)
    tensorfile.write_atomically(home.folder / "address", change.address.encode())
    home.log.record("coordinator moved", facts={"number": change.number, "address": change.address})
    return True
