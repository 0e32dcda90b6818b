"""A data set's version: a digest of all that it holds, so that a plan names what it was approved for.

The counter of `index` rises with every commit; this digest is the same where the content is: images, labels, sites,
patients and splits. It is keyed, since images and pseudonyms of few could be guessed from it.
"""

from client.custody.encrypted_dataset import EncryptedDataset
from client.custody.sealing import subkey
from common.trust.keys import digest


def dataset_version(store: EncryptedDataset) -> str:
    """32 hexadecimal digits; the first 16 are what people compare."""
    sources = [entry.source for entry in store.index.objects]
    lines = sorted(
        "\n".join(map(str, (sources[case.object], case.frame, case.label, case.site, case.patient, case.split)))
        for case in store.index.cases
    )
    key = subkey(store.secrets.pseudonyms, "version")
    return digest("dataset-version", key, store.wraps.set.encode(), *(line.encode() for line in lines)).hex()[:32]
