"""From a picture as read to the array that a model sees: pure steps on stacks, composed in the configuration.

`steps` is what a configuration may say, `pipeline` runs it; the arithmetic is in `window`, `geometry`, `linear`,
`filters`, `segment` and `contrast`. All sites must run the same pipeline: its fingerprint tells whether they do.
"""

from common.imaging.picture import Picture
from common.imaging.pipeline import Pipeline

__all__ = ["Picture", "Pipeline"]
