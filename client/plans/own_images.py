"""Which cases a site has, as digests that tell nobody what they are; and which of its data sets have images in common.

The ledger of answers goes by data set. Under another name in site.yaml the same images would be another data set, and
what was summed of them could be asked again over other sites. So the site keeps of every image with which it ever
approved under which name that was first; and a data set goes by its own name and by those of all its images.

    ledger.key                  what the digests are made with
    ledger.images               JSON: by the image's digest, the name
    plans/DIGEST/datasets.json  the names by which a plan's data set goes, as of the approval (`client.plans.inbox`)
"""

import json
import os
from collections.abc import Collection, Sequence

from client.custody.dataset_version import dataset_version
from client.custody.encrypted_cases import open_store
from client.dataset.for_plan import Row, own_rows, site_config
from client.home import Home
from common.config import Encrypted
from common.errors import ConfigError
from common.plans.plan import RunPlan
from common.storage import file_lock
from common.storage.files import read_json, replace
from common.trust.keys import DIGEST_BYTES, digest


def data_digest(home: Home, rows: Sequence[Row]) -> str:
    """Stands for this site's cases of a data set; without the site's key nobody can tell which they are."""
    with file_lock.hold(home.folder / "ledger.lock"):
        key = _key(home)
    return digest("cases", key, *sorted(" ".join(row[:3]).encode() for row in rows)).hex()[:32]


def version(home: Home, plan: RunPlan, rows: Sequence[Row] = ()) -> str:
    """The version of a plan's data set: in custody a digest of all that it holds, else of the site's cases.

    Args:
        rows: of the site's cases, where they are known; else they are read.

    Raises:
        ConfigError, CustodyError, DataError: the data set cannot be read.
    """
    source = site_config(home, plan)[0].data
    if isinstance(source, Encrypted):
        return dataset_version(open_store(source, home))
    with file_lock.hold(home.folder / "ledger.lock"):
        key = _key(home)
    return digest("version", key, *sorted(" ".join(row).encode() for row in rows or own_rows(home, plan))).hex()[:32]


def names(home: Home, dataset: str, rows: Sequence[Row]) -> tuple[str, ...]:
    """The names by which a data set goes, its own among them; images that are new here are written down under that.

    Raises:
        ConfigError, RunError: ledger.key or ledger.images is damaged.
    """
    path = home.folder / "ledger.images"
    with file_lock.hold(home.folder / "ledger.lock"):
        key, datasets = _key(home), read_json(path) or {}
        images = {digest("image", key, image.encode()).hex()[:32] for *_, image in rows}
        if new := dict.fromkeys(sorted(images - datasets.keys()), dataset):
            replace(path, json.dumps(datasets | new, indent=0).encode())
    return tuple(sorted({dataset, *(datasets[image] for image in images & datasets.keys())}))


def first_names(home: Home, images: Collection[str]) -> dict[str, str]:
    """Of images, by the digest of their pixels, under which data set's name each was first approved with, if ever."""
    with file_lock.hold(home.folder / "ledger.lock"):
        key, datasets = _key(home), read_json(home.folder / "ledger.images") or {}
    marks = {image: digest("image", key, image.encode()).hex()[:32] for image in images}
    return {image: datasets[mark] for image, mark in marks.items() if mark in datasets}


def _key(home: Home) -> bytes:
    """Made when it is needed first. `rekey` keeps it: the same images are the same to the ledgers of all sites."""
    path = home.folder / "ledger.key"
    if not path.exists():
        replace(path, os.urandom(DIGEST_BYTES))
    if len(key := path.read_bytes()) != DIGEST_BYTES:
        raise ConfigError(f"{path}: damaged, expected {DIGEST_BYTES} bytes. Restore it from a backup.")
    return key
