"""What every side shares: types, errors, configuration, image steps, models, messages."""

import os

from common.renamed import install

# Else pydantic imports whatever an installed wheel offers it as a plug-in, and looks for that at every start.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
install()
