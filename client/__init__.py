"""A hospital's side: reads its images, trains on them, answers the coordinator's requests with numbers to be summed."""

from common.renamed import install

install()
