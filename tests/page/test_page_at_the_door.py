"""The page under a person's own account: the site's folder is the service's, and commands go through its door."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from client.access import people
from client.access.policy import Person, SitePolicy
from client.access.policy_store import policy_store
from tests.access import accounts
from tests.access.accounts import ANA, GROUP, SERVICE, account, give_away
from tests.page.served_hospital import HERE, Consulted

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="SKIPPED LOUDLY: only root makes system users")


@dataclass
class PageAtTheDoor:
    """Ana's page, in a process of hers."""

    consulted: Consulted
    link: str

    @property
    def url(self) -> str:
        """Without what lets in."""
        return self.link.partition("?")[0].rstrip("/")


@pytest.fixture(scope="module")
def ana() -> Iterator[PageAtTheDoor]:
    with accounts.shared_place("consilium-page-") as (python, place):
        consulted = Consulted(place)
        key, store = people.make(place / "ana.key"), policy_store(consulted.here)
        before, founder = store.in_force(), people.open_key(consulted.here.folder / "me.key")
        content = before.content.model_copy(
            update={"version": 2, "previous": before.digest, "made_s": int(time.time()),
                    "people": (*before.content.people, Person(name="ana", key=key.public, roles=("data-officer",)))}
        )  # fmt: skip
        assert store.offer(SitePolicy.write(content, [founder.private]))
        give_away(consulted.here.folder, SERVICE, mode=0o710)
        home = place / "home-ana"
        home.mkdir()
        shutil.copy(place / "ana.key", home / "me.key")
        give_away(home, ANA)
        site = str(consulted.here.folder)
        command = [python, "-m", "client", "page", "--home", site, "--as", str(home / "me.key"), "--port", "0"]
        with (
            consulted.reachable(),
            account(python, SERVICE, place, site, groups=(GROUP,)),
            subprocess.Popen(
                command, stdout=subprocess.PIPE, text=True, user=ANA, group=ANA, extra_groups=(GROUP,), cwd=home,
                env=accounts.environment(home),
            ) as process,
        ):  # fmt: skip
            assert process.stdout
            line = process.stdout.readline()
            assert line.startswith("A link that works once: "), line
            yield PageAtTheDoor(consulted, line.split()[-1])
            process.terminate()
            assert process.wait(60) == 0


def test_ana_reads_and_approves_in_her_account_and_her_process_reads_nothing_of_the_site(ana: PageAtTheDoor) -> None:
    plan, run = ana.consulted.ask("asked")
    with httpx.Client(base_url=ana.url, headers={"accept": "text/html"}, timeout=120) as client:
        assert client.get(ana.link).status_code == 303
        began = time.monotonic()
        text = client.get("/").text
        print(f"the plans, through the door: {time.monotonic() - began:.1f} s")
        assert "1 plan waits for a decision" in text
        assert re.search(r"Hanoi · ana\b", text)
        assert "3 of the 4 sites at least" in client.get(f"/plans/{plan.name}").text
        decided = client.post(f"/plans/{plan.name}/approve", data={"reason": "fits"}, headers={"origin": ana.url})
        assert decided.status_code == 303
        assert f"Plan {plan.name}: approved." in client.get(f"/plans/{plan.name}").text
        assert "ana as data-officer" in client.get("/log").text
        assert "chest is version" in client.post(
            "/images", headers={"origin": ana.url}, follow_redirects=True
        ).text  # fmt: skip
    assert run.decisions()[HERE].verdict == "approve"
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(
            ["cat", str(ana.consulted.here.folder / "images.npz")], check=True, capture_output=True, user=ANA,
            group=ANA, extra_groups=(GROUP,),
        )  # fmt: skip
