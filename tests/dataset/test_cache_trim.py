"""The cache stays under its bound: what was used longest ago goes first; what this run used, and others, stay."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from client.dataset import loading
from client.sources.cache_trim import trim
from common import config as configuration

HASH = "0123456789abcdef" * 2


def old(path: Path, age_s: float, size: int = 1000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_the_oldest_go_until_the_rest_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [old(tmp_path / f"{n:02x}" / f"{HASH}.npz", 100 * n) for n in (1, 2, 3)]
    files.append(old(tmp_path / "prepared" / HASH, 1000))
    assert trim(tmp_path, 2000 / 1e9, time.time()) == 2000
    assert [path.exists() for path in files] == [True, True, False, False]
    assert "data.cache_gb" in capsys.readouterr().err


def test_what_is_in_use_or_of_others_stays_whatever_the_bound(tmp_path: Path) -> None:
    used = old(tmp_path / "ab" / f"{HASH}.npz", 0)
    others = [old(tmp_path / name, 1e6) for name in ("ab/scan.npz", f"prepared/{HASH}.lock", f"{HASH}.npz", "a/b.png")]
    assert trim(tmp_path, 0.0, time.time() - 10) == 0
    assert used.exists()
    assert all(path.exists() for path in others)


def test_a_run_with_next_to_no_room_ends_with_the_same_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for label in ("ill", "well"):
        (tmp_path / "in" / label).mkdir(parents=True)
        for n in range(12):
            noise = np.random.default_rng([n, label == "ill"]).integers(0, 255, (40, 40), np.uint8)
            Image.fromarray(noise).save(tmp_path / "in" / label / f"{n}.png")
    tree = {
        "name": "t",
        "data": {"kind": "folder", "path": "in", "cache": "cache", "cache_gb": 1e-6, "in_memory_mb": 0},
        "sites": {"split": "iid", "count": 2},
        "preprocess": [{"step": "resize", "size": 20}],
        "model": {"kind": "svm"},
    }
    config = configuration.from_tree(tree, tmp_path / "t.yaml")
    first, again = loading.load(config, 1), loading.load(config, 1)
    stale = old(tmp_path / "cache" / "prepared" / HASH, 1e5, 10**6)
    third = loading.load(config, 1)
    assert not stale.exists()
    for site, same, as_well in zip(first.sites, again.sites, third.sites, strict=True):
        assert np.array_equal(site.train.images[:], same.train.images[:])
        assert np.array_equal(site.train.images[:], as_well.train.images[:])
