"""What an honest coordinator's first sums tell: who is among few cases, and what their images are (A5)."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from client.plans import judge
from client.plans.decide import decide
from client.training.hospital_site import prepare
from client.training.site import Site
from common.errors import ConsiliumError
from common.messages.transport import Request
from common.plans import floors
from common.types import Cases, SiteCases, Stack, Tensors
from tests.attacks.honest import honest_beginning
from tests.attacks.hospitals import SIX, SIZE, SVM, Hospitals, pictures
from tests.attacks.margin import Floats

pytestmark = pytest.mark.usefixtures("many_hospitals")
FIVE = SIX[:5]
Show = Callable[[str], None]


def auc(members: Floats, others: Floats) -> float:
    """How often a member's residual is the smaller one."""
    return float((members[:, None] < others[None]).mean() + 0.5 * (members[:, None] == others[None]).mean())


def each_alone(site: Site, question: Request, images: Stack) -> Floats:
    """What the site's own code adds to the second moments for one image, z zᵀ, as z: float64[n, q], the last entry 1.

    Args:
        images: as they are before the federated normalisation.
    """
    rows = []
    for i in range(len(images)):
        one = Cases(images[i : i + 1], np.zeros(1, np.int64))
        alone = replace(site, cases=SiteCases("one", one, one, one), _ready={}, _ready_for="")
        rows.append(matrix_of(alone.contribute(question, {})[0].sums)[-1])
    return np.stack(rows)


def span(second_moments: Floats, cases: float, noise: float) -> Floats:
    """An orthonormal base of what the cases span, float64[d, rank]."""
    values, vectors = np.linalg.eigh(second_moments)
    rank = int(min((values > noise).sum(), cases))
    return np.asarray(vectors[:, len(values) - rank :])


def residuals(images: Floats, base: Floats) -> Floats:
    """What of every image lies outside what the cases span, as a share of it."""
    outside = images - images @ base @ base.T
    return np.asarray(np.linalg.norm(outside, axis=1) / np.linalg.norm(images, axis=1))


def matrix_of(sums: Tensors) -> Floats:
    """Second moments float64[q, q], of the packed triangle."""
    triangle = sums["gram"]
    d = int(np.sqrt(2 * triangle.size))
    whole = np.zeros((d, d))
    whole[np.triu_indices(d)] = triangle
    return whole + np.triu(whole, 1).T


@pytest.mark.parametrize("cases", [180, 270, 750])
def test_whether_a_patient_is_among_few(tmp_path: Path, cases: int, show: Show) -> None:
    hospitals = Hospitals(tmp_path, dict.fromkeys(FIVE, (cases // 5, 40)), SVM, least=False)
    plan = hospitals.plan(tree=SVM)
    begun = honest_beginning(hospitals, plan, rounds=2)
    coordinator, sums = begun.coordinator, begun.sums
    d = SIZE * SIZE + 1
    assert max(array.size for total in sums.values() for array in total.values()) < d * (d + 1) // 2
    grams = {kind: total for kind, total in sums.items() if "gram" in total}
    for kind, total in grams.items():
        question = next(request for request in coordinator.asked if request.kind == kind)
        sites = [prepare(home, judge.approved_plan(home, plan.digest)).site for home in hospitals.sites.values()]
        members = np.concatenate([each_alone(site, question, site.cases.train.images) for site in sites])
        others = pictures("test", 300)[0].astype(np.float32)[..., None] / 255
        base = span(matrix_of(total), cases, noise=0.05)
        told = auc(residuals(members, base), residuals(each_alone(sites[0], question, others), base))
        show(f"A5 {cases} cases → {kind} of {base.shape[0]}, membership AUC {told:.3f}")
        assert told < 0.6
    if not grams:
        show(f"A5 {cases} cases → no second moments are asked")


def best_guess(second_moments: Floats, cases: int, members: Floats, others: Floats) -> float:
    """AUC of who is in a sum by what its second moments have more of than others' have, by the best ridge of nine."""
    outside, reference = others[::2], others[1::2]
    total, usual, told = second_moments / cases, reference.T @ reference / len(reference), [0.5]
    for ridge in 10.0 ** np.arange(-6, 3) * np.trace(usual) / len(usual):
        eye = ridge * np.eye(len(usual))
        way = np.linalg.inv(total + eye) - np.linalg.inv(usual + eye)
        inside_scores, outside_scores = (np.einsum("ni,ij,nj->n", part, way, part) for part in (members, outside))
        told.append(auc(inside_scores, outside_scores))
    return max(told)


def test_second_moments_that_are_asked_hardly_tell_who_is_in_them(tmp_path: Path, show: Show) -> None:
    each = floors.local_floor(floors.CASES_A_NUMBER * 17 * 18 // 2, len(FIVE))
    hospitals = Hospitals(tmp_path, dict.fromkeys(FIVE, (each, 40)), SVM, least=False)
    plan = hospitals.plan(tree=SVM)
    begun = honest_beginning(hospitals, plan, rounds=1)
    total, cases = matrix_of(begun.sums["gram"]), len(FIVE) * each
    assert total.shape == (17, 17)
    question = next(request for request in begun.coordinator.asked if request.kind == "gram")
    sites = [prepare(home, judge.approved_plan(home, plan.digest)).site for home in hospitals.sites.values()]
    members = np.concatenate([each_alone(site, question, site.cases.train.images) for site in sites])
    assert np.allclose(members.T @ members, total, atol=0.1)  # it is the sum over just these
    dealt = len(FIVE) * (each + 40)
    drawn = pictures("train", dealt + 1200)[0][dealt:]  # of the same hospital and years: test images are of others
    others = each_alone(sites[0], question, drawn.astype(np.float32)[..., None] / 255)
    told = best_guess(total, cases, members, others)
    show(f"A5 {each} cases a site → second moments of 16 frequencies are asked, membership AUC {told:.3f}")
    assert told < 0.6


@pytest.mark.parametrize("cases", [10, 20])
def test_how_so_few_images_look_is_not_asked(tmp_path: Path, cases: int, show: Show) -> None:
    hospitals = Hospitals(tmp_path, dict.fromkeys(FIVE, (cases // 5, 6)), SVM, least=False)
    plan = hospitals.plan(tree=SVM)
    for site in hospitals.sites.values():
        with pytest.raises(ConsiliumError) as refused:
            decide(site, plan, "approve", "")
        assert getattr(refused.value, "cause", "") == "too-few-cases"
    show(f"A5 likeness of {cases} cases → too-few-cases, when the plan is to be approved")
