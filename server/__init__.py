"""The coordinator's side: the round loop, what is done with the sums, checkpoints, and the record of a run."""

from common.renamed import install

install()
