"""Images that are larger than the memory they may take are read from the disk, and every bit is the same."""

from pathlib import Path

import numpy as np
import pytest

from client.dataset import loading
from client.dataset.loading import PreparedData
from client.sources import prepared_cache
from client.sources.prepared_cache import smallest
from client.training.site import Site
from common import config as configuration
from common import image_stack
from common.config import Config
from common.image_stack import StoredImages, join
from common.messages.transport import Request
from common.models import build
from common.types import prefixed

TREE = {
    "name": "t",
    "data": {"kind": "synthetic", "sites": 2, "cases": 40, "size": 24, "cache": "cache"},
    "sites": {"split": "natural"},
    "preprocess": [{"step": "resize", "size": 20}, {"step": "normalise", "by": "federated"}],
    "augment": {"flip": True, "noise": 0.1},
    "model": {"kind": "cnn", "width": 4, "dropout": 0.2},
    "federation": {"local": {"epochs": 2, "batch": 8}},
}


@pytest.fixture(autouse=True)
def few_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(image_stack, "BATCH_BYTES", 17 * 20 * 20 * 4)


def both(**changes: object) -> tuple[Config, PreparedData, PreparedData]:
    tree = TREE | changes
    data = dict(tree["data"])  # type: ignore[call-overload]
    config = configuration.from_tree(tree | {"data": data | {"in_memory_mb": 0}}, Path("t.yaml"))
    return config, loading.load(configuration.from_tree(tree, Path("t.yaml")), 1), loading.load(config, 1)


def answers(config: Config, data: PreparedData) -> dict[str, np.ndarray]:
    """All that a site may be asked with a model of this kind."""
    cases = data.sites[0]
    model = build(config.model_for(1), cases.train.images.shape[1:], 2, config.augment)
    site = Site(cases, data.pipeline, model, config.federation.local, least_active=1)
    recipe = data.pipeline.fingerprint()
    asked = Request("statistics", 0, {}, {"recipe": recipe, "pixels": 1, "likeness": 1})
    sums = site.answer(asked, {})[0].sums
    n = sums["n"][0]
    mean, second = sums["x"] / n, sums["xx"] / n
    arrays = prefixed("recipe", {"mean": mean, "variance": second - mean**2}) | prefixed("weights", model.init(1))
    looks = {k: v for k, v in sums.items() if k.startswith("likeness/")}
    requests = [Request("evaluate", 0, arrays | looks, {"recipe": recipe})]
    if config.model.kind == "cnn":
        requests.append(Request("train", 0, arrays, {"recipe": recipe, "learning_rate": 0.01, "seed": 1}))
    else:
        requests += [Request(kind, 0, arrays, {"recipe": recipe}) for kind in ("gradient", "hessian")]
    found = {f"statistics/{k}": v for k, v in sums.items()}
    for request in requests:
        found |= prefixed(request.kind, site.answer(request, {})[0].sums)
    return found


@pytest.mark.parametrize("changes", [{}, {"model": {"kind": "svm"}}, {"sites": {"split": "scanner", "count": 2}}])
def test_a_site_answers_the_same_bits_from_disk_as_from_memory(changes: dict[str, object]) -> None:
    config, in_memory, on_disk = both(**changes)
    assert isinstance(on_disk.sites[0].train.images, StoredImages)
    assert isinstance(in_memory.sites[0].train.images, np.ndarray)
    one, other = answers(config, in_memory), answers(config, on_disk)
    assert one.keys() == other.keys()
    assert [name for name in one if one[name].tobytes() != other[name].tobytes()] == []


def test_all_sites_pooled_are_read_from_the_same_place() -> None:
    _, in_memory, on_disk = both()
    pooled = join([site.train for site in on_disk.sites])
    assert isinstance(pooled.images, StoredImages)
    assert np.array_equal(pooled.images[:], join([site.train for site in in_memory.sites]).images[:])
    with pytest.raises(ValueError, match="read in different ways"):
        join([on_disk.sites[0].train, in_memory.sites[0].train])


def test_images_of_8_bits_take_a_byte_a_pixel_on_the_disk(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    np.savez("d.npz", images=rng.integers(0, 256, (40, 32, 32), np.uint8), labels=np.arange(40) % 2)
    data = {"kind": "npz", "path": str(tmp_path / "d.npz"), "cache": "cache"}
    _, in_memory, on_disk = both(data=data, preprocess=[], sites={"split": "iid", "count": 2})
    assert np.array_equal(on_disk.test.images[:], in_memory.test.images[:])
    [path] = Path("cache/prepared").iterdir()
    assert path.stat().st_size < 40 * (32 * 32 + 100)


@pytest.mark.parametrize(("values", "divisor"), [(255, 255), (65535, 65535), (1000, 1)])
def test_values_are_kept_in_whole_numbers_where_these_give_the_same_bits(values: int, divisor: int) -> None:
    image = np.arange(0, values + 1, dtype=np.float32).reshape(-1, 1, 1) / np.float32(values)
    assert smallest(image)[0] == divisor
    assert smallest(image - np.float32(1e-3))[0] == 1


def test_a_record_that_is_damaged_while_a_run_goes_on_is_made_again() -> None:
    _, in_memory, on_disk = both()
    [path] = Path("cache/prepared").iterdir()
    content = bytearray(path.read_bytes())
    content[prepared_cache.HEAD.size + 9] ^= 1
    path.write_bytes(content)
    parts = [part for site in on_disk.sites for part in (site.train, site.validation, site.test)]
    read = np.concatenate([part.images[:] for part in parts])
    same = [part for site in in_memory.sites for part in (site.train, site.validation, site.test)]
    assert np.array_equal(read, np.concatenate([part.images[:] for part in same]))
    assert path.stat().st_size > len(content)
