"""What every side shares: types, errors, configuration, image steps, models, messages."""

from common.renamed import install

install()
