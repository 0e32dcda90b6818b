"""Figures as TensorBoard's event files, written by TensorFlow itself: TensorBoard need not be installed here."""

from collections.abc import Iterable
from pathlib import Path

from common.encoders import tensorflow_loading

Scalar = tuple[str, int, float]
"""Tag, step, value."""


def write_events(folder: Path, scalars: Iterable[Scalar]) -> None:
    """Write one event file into a folder; TensorBoard shows each tag as a curve over its steps, in single precision."""
    tensorflow_loading.load("tensorflow")
    import tensorflow as tf

    # `tf.summary.scalar` writes just this, and wants TensorBoard for it.
    kind = tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": "scalars"}, data_class="DATA_CLASS_SCALAR")
    with tf.summary.create_file_writer(str(folder)).as_default():
        for tag, step, value in scalars:
            tf.summary.write(tag, tf.constant(value, tf.float32), step, kind)
