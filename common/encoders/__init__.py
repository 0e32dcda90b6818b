"""Pretrained encoders: frozen networks that turn an image into a few hundred numbers, which small data can learn from.

encoder_file      one file of arrays and a description: licence, source, input, layers, the network's graph
encoder_library   the encoders that this machine has, by the digest of their file
encoder_graph     the network as a list of operations, of which none can do anything but arithmetic
encoder_shapes    the shapes of its maps, reckoned without running it
encoder_network   the operations run by TensorFlow

A configuration names an encoder (`{step: embed, encoder: NAME}`); a plan names the digest of its file. Nothing is
fetched by itself, and no file of an encoder is ever executed.
"""

from common.encoders.encoder_file import Encoder, EncoderAbout, read_encoder

__all__ = ["Encoder", "EncoderAbout", "read_encoder"]
