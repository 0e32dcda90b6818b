"""The commands of roots: root, cosign, pending, take."""

import argparse
import sys
from pathlib import Path

from common.cli.command import Command
from common.errors import ConfigError, PolicyError
from common.storage import tensorfile
from common.trust.cosigning import SigningRequest
from common.trust.documents import fingerprint
from common.trust.keys import public_of
from server.consortium import membership, paper_words, root_key, signing
from server.consortium.arguments import add_home, add_root
from server.consortium.home import Home
from server.consortium.publishing import alone
from server.consortium.signing import Finish

ROOT = """Make a root key on this machine, which needs nothing of the consortium; or put one under a passphrase.

  python -m server root new ana                  makes ana.key, under a passphrase asked for twice, and ana.pub
  python -m server root seal consortium/root.key
  python -m server root rotate --to ana.pub,eva.pub      at the coordinator: other roots, seven days later

Send the .pub file to whoever runs `python -m server init … --roots ana.pub,ben.pub`, and compare its fingerprint by
telephone. The private half stays. The passphrase is asked for twice at the terminal, or read from the file that the
environment variable CONSILIUM_ROOT_PASSPHRASE_FILE names; it is never an argument. A key that lies in the clear
(--no-passphrase) is warned of at every use. A rotation is signed by all old roots and all new ones; sites follow it."""

COSIGN = """Read what the consortium's roots are to sign, and add this root's signature. On any machine: nothing of the
consortium's folder is needed.

  python -m server cosign admit-lisbon.unsigned --root ana.key

Shows all of it first: what changes against the last roster, the whole plan. A site that is new is for you to telephone,
too: its fingerprint is shown. Then carry the same file back, or on to the next root."""

PENDING = """What waits for the signatures of other roots, who is missing, and what they type.

  python -m server pending
  python -m server pending --drop admit-lisbon"""

TAKE = """Take back what other roots have signed, and go on where the command stopped that asked for it.

  python -m server take admit-lisbon.unsigned

Copies that went to several roots at once are taken one after the other: their signatures are put together."""


def _root_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("new", "seal", "rotate"), metavar="ACTION", help="new, seal or rotate")
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE", help="the key's file, or for a new one a name")
    parser.add_argument(
        "--to", default="", metavar="PUB,PUB", help="rotate: the public halves of all roots from then on"
    )
    add_root(parser)
    parser.add_argument("--no-passphrase", action="store_true", help="the new key lies in the clear")


def _root(options: argparse.Namespace) -> int:
    path: Path | None = options.file
    if options.action == "rotate":
        home = Home.at(options.home)
        new = root_key.read_publics(options.to)
        print(membership.rotate(home, new, home.root_keys(*options.root)).words)
        return 0
    if path is None:
        raise ConfigError(f"root {options.action}: expected the key's file. See python -m server root --help.")
    if options.action == "seal":
        had_passphrase = root_key.seal(path)
        print(f"{path} is under {'another' if had_passphrase else 'a'} passphrase now. Copies made before are not.")
        return 0
    path = path if path.suffix else path.with_name(f"{path.name}.key")
    key = root_key.make(path, None if options.no_passphrase else root_key.new_passphrase(path))
    print(
        f"Root key made: {path}. Keep it safe, back it up. Its public half is {path.with_suffix('.pub')}; fingerprint:"
    )
    print(f"\n    {fingerprint(public_of(key))}\n")
    if options.no_passphrase:
        print(f"{path} lies in the clear: whoever copies it can sign. `python -m server root seal {path}` mends that.")
    return 0


def _cosign_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paper", type=Path, metavar="PAPER", help="the .unsigned file that the coordinator gave you")
    parser.add_argument("--root", type=Path, required=True, metavar="FILE", help="this root's key")
    parser.add_argument("--yes", action="store_true", help="do not ask (for scripts)")


def _cosign(options: argparse.Namespace) -> int:
    request = SigningRequest.read(options.paper.read_bytes())
    print(paper_words.describe(request))
    if not options.yes and not (sys.stdin.isatty() and input("\nSign all of it? [yes/no] ").strip().lower() == "yes"):
        raise PolicyError(
            "not-confirmed", f"{request.name}: nothing was signed. Answer yes, or in a script give --yes."
        )
    request = request.sign([root_key.load(options.root)])
    tensorfile.write_atomically(options.paper, request.file)
    print(f"\nSigned: {options.paper}, by {len(request.signers)} of {len(request.roots)} roots now.")
    print("Carry it on to the next." if request.missing else "All have signed. Carry it back to the coordinator.")
    return 0


def _pending_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--drop", metavar="NAME", help="give up what waits under this name")
    add_home(parser)


def _pending(options: argparse.Namespace) -> int:
    home = Home.at(options.home)
    if options.drop:
        signing.drop(home, options.drop.removesuffix(".unsigned"))
        print(f"{options.drop} is given up. Tell the other roots not to sign it any more.")
        return 0
    requests = list(signing.waiting(home))
    print("\n\n".join(signing.describe_missing(home, request) for request in requests) or "Nothing waits.")
    return 0


def _take_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paper", type=Path, metavar="PAPER", help="the .unsigned file as it came back")
    add_home(parser)


def take_command(acts: dict[str, Finish]) -> Command:
    """The command `take`, which goes on with each of these acts."""

    def take(options: argparse.Namespace) -> int:
        home = Home.at(options.home)
        with alone(home):
            outcome = signing.take(home, options.paper.read_bytes(), acts)
        options.act.facts |= {"paper": outcome.request.name, "missing": len(outcome.request.missing)}
        print(outcome.words)
        return 0

    return Command(TAKE, _take_arguments, take)


COMMANDS = {
    "root": Command(ROOT, _root_arguments, _root),
    "cosign": Command(COSIGN, _cosign_arguments, _cosign),
    "pending": Command(PENDING, _pending_arguments, _pending),
}
