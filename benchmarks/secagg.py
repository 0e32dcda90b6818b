"""What secure aggregation costs: one site's and the coordinator's time a round, beside the machine's own AES rate.

python benchmarks/secagg.py [--quick]        a minute or two; --quick leaves out 25 M parameters and the 100 sites

Caveats first. Times are the best of several, in one process on this machine, without any network; ratios hold better
than times. A busy machine spoils what runs on two cores first. A site's time is everything it does in a round but
training: checks, masks, hash, signatures, shares, and the bytes of its messages; turning floats into words is a column
of its own, and both comparisons include it. The floor is bytes × (peers + 1) over the AES-256-CTR rate of ONE core,
measured between the rounds of each row; masking uses up to four cores, the column `one core` is without that, and
`AES gain` how many times the AES of one core two of them give here, which is below two where they share units. Masks
are drawn by way of GCM, which may be faster than the floor: it stays what it was, so that releases can be compared.
Flower's figure is its own client's code of SecAgg+ (quantising, keys, shares, masks), CKKS is TenSEAL with NVFlare's
defaults, encrypting and serialising one site's floats; each is left out where the package is not installed
(`pip install -e ".[bench]"`).
"""

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

sys.path.insert(0, str(Path(__file__).parents[1]))

from client.training.secure_site import participant_of
from client.training.sent_vector import VectorFile
from common.config import Config, Federation
from common.messages.transport import Answer, InMemory, Reply, Request
from common.plans import lineage
from common.plans.simulated_run import simulated_approvals
from common.secagg import masks, parallel
from common.secagg.audit import audit
from common.secagg.durable_participant import DurableParticipant, StateInMemory
from common.secagg.fixedpoint import Layout, Segment
from common.secagg.key_period_plan import QuestionKind
from common.secagg.round import RoundOpening
from common.trust import keys
from common.trust.enrolment import simulated_consortium
from common.types import Tensors
from server.rounds.secure_sum import SecureSum
from tests.secagg.world import NOW_S, World

PARAMETERS = 1_200_000
AUDITED = ((5, 0), (5, 1), (20, 0), (20, 2), (20, 6), (100, 0), (100, 10), (100, 33))
"""Sites, and how many of them drop out, in the rounds that are audited."""
CONFIG = Config.model_validate({
    "name": "secagg", "data": {"kind": "synthetic", "sites": 3}, "sites": {"split": "natural"},
    "model": {"kind": "cnn"},
})  # fmt: skip
NVFLARE = {"poly_modulus_degree": 8192, "coeff_mod_bit_sizes": [60, 40, 40], "scale": 2.0**40}


def verify_anew() -> None:
    """Forget which signatures held: this process has checked them for others already, a site has not."""
    keys._verify.cache_clear()


def seconds(work: Callable[[], object]) -> float:
    """One run."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def aes_bytes_per_second(cores: int = 1, times: int = 6) -> float:
    """The key stream alone, in pieces that stay in cache: the best of many."""
    zeros, a_core = bytes(masks.LEAF_BYTES), 150

    def draw() -> Callable[[int], object]:
        drawn = bytearray(masks.LEAF_BYTES)
        stream = Cipher(algorithms.AES(os.urandom(32)), modes.CTR(bytes(16))).encryptor()
        return lambda _: [stream.update_into(zeros, drawn) for _ in range(a_core)]

    best = min(seconds(lambda: parallel.run_on_cores(range(cores), draw)) for _ in range(times))
    return cores * a_core * masks.LEAF_BYTES / best


def layout_of(length: int, bits: Any) -> Layout:
    """A model's difference as a site would send it."""
    return Layout((Segment("delta", (length,), 1.0, 8 if bits == 32 else 24, weighted=True),), bits, 10_000.0)


class OneRound:
    """A federation in its rounds, with a clock on one site and on the coordinator."""

    def __init__(self, sites: int, length: int, bits: int, rounds: int) -> None:
        self.world = World.of(sites, layout_of(length, bits), rounds=rounds)
        self.key_period = self.world.open_key_period()
        self.layout = self.world.plan.question_kinds["train"].layout
        self.words = np.zeros(length, self.layout.dtype)
        self.transcript: list[bytes] = []

    def run(self, slot: int, dropped: int = 0) -> tuple[float, float, int]:
        """One round: the first site's seconds, the coordinator's seconds, the bytes of the first site's upload."""
        opening = RoundOpening(self.key_period, slot, "train", slot.to_bytes(32, "big"))
        names, upload, sent = list(self.world.sites), 0, {}
        clock = {"site": 0.0, "server": 0.0}

        def timed(whose: str, work: Callable[[], Any]) -> Any:
            verify_anew()
            started = time.perf_counter()
            result = work()
            clock[whose] += time.perf_counter() - started
            return result

        for step in ("submit", "agree", "release"):
            requests = timed("server", opening.requests)
            for name in names[: len(names) - dropped]:
                site, whose = self.world.sites[name], "site" if name == names[0] else "others"
                clock.setdefault(whose, 0.0)
                if step == "submit":
                    words = masks.room(len(self.words), self.layout.dtype)  # as `Layout.encode` gives it
                    words[:] = 0
                    opened = timed(whose, lambda s=site, r=requests[name]: s.open(r, opening.question, NOW_S))
                    outgoing = timed(whose, lambda o=opened, w=words: o.submit(w))
                    sent[name] = words.data.cast("B")
                elif step == "agree":
                    outgoing = timed(whose, lambda s=site, r=requests[name], v=sent[name]: s.agree(r, v))
                else:
                    outgoing = timed(whose, lambda s=site, r=requests[name]: s.release(r))
                self.world.sites[name], message = outgoing.commit(lambda _: None)
                upload += len(message) if name == names[0] else 0
                timed("server", lambda m=message: opening.receive(m))
            timed("server", opening.close)
        timed("server", lambda: opening.check_sketches(lambda sender: b""))
        total = timed("server", opening.total)
        assert not total.words.any()  # every site sent zeros: what is left of the masks must be nothing
        self.transcript = list(opening.transcript(self.world.signed_roster, lambda sender: b""))
        return clock["site"], clock["server"], upload


def site_row(length: int, sites: int, bits: int, repeats: int) -> dict[str, float]:
    """One row of the table: milliseconds, and the time over the floor."""
    rounds = OneRound(sites, length, bits, 2 * repeats)
    rate, pair, best, alone, upload = 0.0, 0.0, np.inf, np.inf, 0
    several = parallel.CORES
    for slot in range(0, 2 * repeats, 2):  # in turn, so that what else the machine does is in all of them
        rate, pair = max(rate, aes_bytes_per_second()), max(pair, aes_bytes_per_second(2))
        taken, _, upload = rounds.run(slot)
        parallel.CORES = 1
        best, alone = min(best, taken), min(alone, rounds.run(slot + 1)[0])
        parallel.CORES = several
    layout, values = layout_of(length, bits), np.random.default_rng(1).standard_normal(length).astype(np.float32)
    encoding = min(seconds(lambda: layout.encode({"delta": values}, 500.0, os.urandom(32))) for _ in range(repeats))
    floor = rounds.words.nbytes * sites / rate
    return {
        "ms": 1e3 * best, "one_core_ms": 1e3 * alone, "floor_ms": 1e3 * floor, "over_floor": best / floor,
        "encoding_ms": 1e3 * encoding, "upload_ratio": upload / (4 * length), "gb_per_s": rate / 1e9,
        "gain": pair / rate,
    }  # fmt: skip


def server_row(sites: int, dropped: int) -> float:
    """The coordinator's seconds for one round, everything it does from the first request to the sum."""
    return OneRound(sites, PARAMETERS, 32, 1).run(0, dropped)[1]


def auditor_row(sites: int, dropped: int, rounds: int = 32) -> tuple[float, float, float]:
    """What a site that audits a round of 1.2 M words has to do: megabytes down; seconds; seconds on one core.

    Args:
        rounds: of the key period; the keys of all stand in every transcript.
    """
    federation = OneRound(sites, PARAMETERS, 32, rounds)
    federation.run(0, dropped)
    pins, transcript = federation.world.pins, federation.transcript

    def one() -> float:
        verify_anew()
        return seconds(lambda: audit(transcript, pins))

    several = min(one() for _ in range(3))
    parallel.CORES, before = 1, parallel.CORES
    alone = min(one() for _ in range(2))
    parallel.CORES = before
    return sum(map(len, transcript)) / 1e6, several, alone


def coordinator(sites: int, length: int) -> SecureSum:
    """The coordinator at its edge, before sites in this process that each answer a training round with zeros."""
    names = [f"site-{i:03d}" for i in range(sites)]
    consortium, enrolled = simulated_consortium(names, Federation())
    layout = layout_of(length, 32)

    def site(name: str) -> Answer:
        vector = VectorFile(Path(tempfile.gettempdir()) / f"consilium-benchmark-{os.getpid()}-{name}")
        keeper = DurableParticipant(partial(participant_of, enrolled[name]), StateInMemory())

        def answer(request: Request, state: Tensors) -> tuple[Reply, Tensors]:
            told, step = request.tensors["message"].tobytes(), request.kind.removeprefix("secagg/")
            if step == "join":
                message = keeper.step(lambda s: s.join(told, request.tensors["roster"].tobytes(), time.time()))
            elif step == "submit":
                asked = Request("train", request.round, {"weights": request.tensors["weights"]})
                question = lineage.question(asked, bytes.fromhex(str(request.settings["lineage"])))
                words = masks.room(length, layout.dtype)
                words[:] = 0
                message = keeper.step(lambda s: s.open(told, question, time.time()).submit(words))
                vector.keep(words.data.cast("B"))
            elif step == "agree":
                message = keeper.step(lambda s: s.agree(told, vector.load()))
                vector.drop()
            else:
                message = keeper.step(lambda s: getattr(s, step)(told))
            return Reply({"message": np.frombuffer(message, np.uint8)}), state

        return answer

    way = InMemory({name: site(name) for name in names})
    approvals = simulated_approvals(
        CONFIG, 1, ((8, 8, 1), ("none", "some")), consortium, enrolled, dict.fromkeys(names, 9)
    )
    return SecureSum(way, consortium, approvals, lambda _: {"train": QuestionKind(layout)})


def server_peak_bytes(sites: int, length: int = 120_000) -> int:
    """The memory of one round at its highest, from the requests to the sum; one site's vector at a time is in it."""
    whole = coordinator(sites, length)
    weights = {"weights": np.zeros(length, np.float32)}
    whole.total(Request("train", 0, weights), whole.transport.sites(), 60.0)  # with the key period's keys
    tracemalloc.start()
    total = whole.total(Request("train", 1, weights), whole.transport.sites(), 60.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(total.sites) == sites
    return peak


def flower_seconds(sites: int = 5) -> float | None:
    """One of Flower's own clients through a round of SecAgg+, with Flower's defaults."""
    try:
        from flwr.common import ndarrays_to_parameters

        # The package hides this module behind a function of the same name.
        flower = importlib.import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")
    except ImportError:
        return None
    parameters = ndarrays_to_parameters([np.random.default_rng(1).standard_normal(PARAMETERS).astype(np.float32)])
    setup = {
        "sample_num": sites, "share_num": sites, "threshold": 4, "clipping_range": 8.0, "target_range": 1 << 22,
        "mod_range": 1 << 32, "max_weight": 1000.0,
    }  # fmt: skip
    nodes = list(range(1, sites + 1))
    states = {n: flower.SecAggPlusState() for n in nodes}
    for n in nodes:
        states[n].nid = n
    mine, spent, inbox = 1, 0.0, {n: ([], []) for n in nodes}
    keys = {}
    for n in nodes:
        started = time.perf_counter()
        out = flower._setup(states[n], dict(setup))
        spent += (time.perf_counter() - started) * (n == mine)
        keys[str(n)] = (out["pk1"], out["pk2"])
    for n in nodes:
        started = time.perf_counter()
        out = flower._share_keys(states[n], dict(keys))
        spent += (time.perf_counter() - started) * (n == mine)
        for to, box in zip(out["dsts"], out["ctxts"], strict=True):
            inbox[to][0].append(n)
            inbox[to][1].append(box)
    sources, boxes = inbox[mine]
    spent += seconds(
        lambda: flower._collect_masked_vectors(states[mine], {"ctxts": boxes, "srcs": sources}, 500, parameters)
    )
    return spent + seconds(lambda: flower._unmask(states[mine], {"active_nids": nodes, "dead_nids": []}))


def ckks() -> tuple[float, float] | None:
    """Seconds and bytes of one site's floats under CKKS."""
    try:
        import tenseal
    except ImportError:
        return None
    context = tenseal.context(
        tenseal.SCHEME_TYPE.CKKS, NVFLARE["poly_modulus_degree"], coeff_mod_bit_sizes=NVFLARE["coeff_mod_bit_sizes"]
    )
    context.global_scale = NVFLARE["scale"]
    values = np.random.default_rng(1).standard_normal(PARAMETERS).astype(np.float32)
    started = time.perf_counter()
    content = tenseal.ckks_vector(context, values).serialize()
    return time.perf_counter() - started, float(len(content))


def main() -> None:
    """Print the table and the line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    rows = [(120_000, 5, 32), (120_000, 17, 32), (PARAMETERS, 5, 32), (PARAMETERS, 17, 32), (PARAMETERS, 5, 64)]
    rows += [] if quick else [(PARAMETERS, 17, 64), (25_000_000, 5, 32)]
    print(f"{parallel.CORES} cores used; milliseconds a round for one site")
    print("parameters  sites  bits      site  one core     floor  over floor  encoding  AES GB/s  AES gain")
    found = {}
    for length, sites, bits in rows:
        r = found[length, sites, bits] = site_row(length, sites, bits, 2 if length > PARAMETERS else 24)
        print(
            f"{length:10,} {sites:6} {bits:5} {r['ms']:9.2f} {r['one_core_ms']:9.2f} {r['floor_ms']:9.2f} "
            f"{r['over_floor']:11.2f} {r['encoding_ms']:9.2f} {r['gb_per_s']:9.2f} {r['gain']:9.2f}",
            flush=True,
        )
    main_row = found[PARAMETERS, 5, 32]
    ours = (main_row["ms"] + main_row["encoding_ms"]) / 1e3
    flower = min((f for f in (flower_seconds() for _ in range(3)) if f is not None), default=None)
    encrypted = ckks()
    if flower:
        print(f"Flower's client, {PARAMETERS:,} parameters, 5 sites: {1e3 * flower:.1f} ms; ours {1e3 * ours:.1f} ms")
    if encrypted:
        print(f"CKKS: {encrypted[0]:.2f} s, upload {encrypted[1] / (4 * PARAMETERS):.1f} × the float32 model")
    servers = {} if quick else {n: server_row(n, d) for n, d in ((30, 3), (100, 10))}
    for sites, taken in servers.items():
        print(f"coordinator, {PARAMETERS:,} parameters, {sites} sites, a tenth dropped: {taken:.2f} s")
    audits = {} if quick else {(n, d): auditor_row(n, d) for n, d in AUDITED}
    for (sites, dropped), (size, several, alone) in audits.items():
        print(
            f"auditor, {PARAMETERS:,} parameters, {sites} sites, {dropped} dropped: {size:.1f} MB a question, "
            f"{several:.2f} s ({alone:.2f} s on one core)",
            flush=True,
        )
    length = 120_000 if quick else PARAMETERS
    peaks = [server_peak_bytes(n, length) for n in (10, 40)]
    print(
        f"coordinator's memory in a round, {length:,} parameters ({length * 4 / 1e6:.1f} MB), a site's vector with it: "
        f"{peaks[0] / 1e6:.1f} MB for 10 sites, {peaks[1] / 1e6:.1f} MB for 40"
    )
    print(
        json.dumps(
            {
                "client_over_floor": round(main_row["over_floor"], 3),
                "client_over_floor_one_core": round(main_row["one_core_ms"] / main_row["floor_ms"], 3),
                "flower_over_ours": round(flower / ours, 2) if flower else None,
                "ckks_over_ours": round(encrypted[0] / ours, 1) if encrypted else None,
                "upload_ratio": round(main_row["upload_ratio"], 5),
                "server_100_sites_s": round(servers[100], 3) if servers else None,
                "auditor_100_sites_s": round(audits[100, 0][1], 3) if audits else None,
                "auditor_100_sites_mb": round(audits[100, 0][0], 2) if audits else None,
                "server_memory_40_over_10_sites": round(peaks[1] / peaks[0], 3),
            }
        )
    )


if __name__ == "__main__":
    main()
