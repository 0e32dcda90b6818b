"""Can an image be read from what a hospital sends? Gradient inversion on a plain update, and on the masked one.

    python benchmarks/leak.py [--images 6]

The worst case for a hospital: one image, one step of plain gradient descent, the plain CNN with weights that the
attacker knows. Its update gives the inputs of the dense layer exactly, for they are the quotient of that layer's
gradients of weights and bias (Geiping et al., NeurIPS 2020, prop. 3.1); the image is then whatever gives these
features, found by gradient descent with a penalty on total variation. Compared: the same attack on what the site
really sends under secure aggregation, read as if it were not masked, and the guess of one who saw nothing, the mean
image of the training set. PSNR in dB, images in 0..1; above about 20 the image is recognisable.
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from client.training.run_binding import simulated_binding
from client.training.secure_site import SecuredSite
from client.training.site import Site
from common.cli import terminal
from common.config import Cnn, Config
from common.imaging import Pipeline
from common.messages.answer_layout import exchanges
from common.messages.transport import Answer, InMemory, Reply, Request
from common.models import Model, build
from common.plans.simulated_run import simulated_approvals
from common.secagg.round_messages import Masked
from common.trust.enrolment import simulated_consortium
from common.types import Cases, SiteCases, Stack, Tensors, prefixed, under
from server.rounds.secure_sum import SecureSum

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "pneumoniamnist.npz"
SHAPE, STEPS, SMOOTH = (28, 28, 1), 1500, 2e-5
CONFIG = Config.model_validate({
    "name": "leak", "data": {"kind": "synthetic", "sites": 3}, "sites": {"split": "natural"}, "model": {"kind": "cnn"},
    "federation": {"rounds": 1, "local": {"optimizer": "sgd", "steps": 1, "batch": 1, "learning_rate": 0.1}},
})  # fmt: skip


def updates(model: Model, weights: Tensors, image: Stack, label: int) -> tuple[Tensors, Tensors]:
    """What one site's update is, and what the coordinator gets to see of it: both as differences of weights."""
    one = Cases(image[None], np.array([label]))
    recipe, names = Pipeline(()), ("victim", "x", "y")
    sites = {name: Site(SiteCases(name, one, one, one), recipe, model, CONFIG.federation.local) for name in names}
    request = Request(
        "train", 0, prefixed("weights", weights), {"recipe": recipe.fingerprint(), "seed": 1, "learning_rate": 0.1}
    )
    plain = under("delta", sites["victim"].contribute(request, {})[0].means)
    seen: list[bytes] = []

    def answer(secured: SecuredSite) -> Answer:
        def listen(asked: Request, state: Tensors) -> tuple[Reply, Tensors]:
            reply, state = secured.answer(asked, state)
            if asked.kind == "secagg/submit" and secured is first:
                seen.append(reply.sums["message"].tobytes())
            return reply, state

        return listen

    consortium, enrolled = simulated_consortium(names, CONFIG.federation)
    layouts = partial(exchanges, CONFIG, model, SHAPE, 2)
    about, cases = (SHAPE, ("none", "some")), dict.fromkeys(names, 1)
    approvals = simulated_approvals(CONFIG, 1, about, consortium, enrolled, cases)
    secured = {
        name: SecuredSite(site, enrolled[name], simulated_binding(approvals, name)) for name, site in sites.items()
    }
    first = secured["victim"]
    way = InMemory({name: answer(s) for name, s in secured.items()})
    SecureSum(way, consortium, approvals, layouts).total(request, names, 60.0)
    masked = layouts(3)["train"].layout.decode(Masked.decode(seen[0]).words)
    return plain, under("delta", masked)


def features(delta: Tensors) -> NDArray[np.float32]:
    """The dense layer's inputs a, from its gradients dW = a δᵀ and db = δ, by least squares over its units."""
    kernel, bias = np.asarray(delta["dense/kernel"], np.float64), np.asarray(delta["dense/bias"], np.float64)
    return np.asarray(kernel @ bias / np.square(bias).sum(), np.float32)


class Attacker:
    """Looks for the image whose features are those of an update."""

    def __init__(self, weights: Tensors) -> None:
        import keras

        from common.models.architectures import network

        whole = network(Cnn(kind="cnn"), SHAPE, 2)
        whole.set_weights(list(weights.values()))
        flat = next(layer for layer in whole.layers if isinstance(layer, keras.layers.Flatten))
        self._extract = keras.Model(whole.inputs, flat.output)

    def __call__(self, delta: Tensors, start: Stack) -> Stack:
        """From the mean image, by Adam: float32[28, 28, 1] in 0..1."""
        import keras
        import tensorflow as tf

        image, wanted = tf.Variable(start[None]), features(delta)
        scale = float(np.square(wanted).sum()) + 1e-12
        rule = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.03, STEPS))
        rule.build([image])

        @tf.function(jit_compile=False)
        def step() -> None:
            with tf.GradientTape() as tape:
                miss = tf.reduce_sum(tf.square(self._extract(image) - wanted)) / scale
                goal = miss + SMOOTH * tf.reduce_sum(tf.image.total_variation(image))
            rule.apply_gradients([(tape.gradient(goal, image), image)])
            image.assign(tf.clip_by_value(image, 0.0, 1.0))

        for _ in range(STEPS):
            step()
        return np.asarray(image.numpy()[0])


def psnr(one: Stack, other: Stack) -> float:
    """Peak signal-to-noise ratio, dB."""
    return float(-10 * np.log10(np.square(one - other).mean() + 1e-12))


def nearest(guess: Stack, images: Stack) -> int:
    """Which image is nearest to a guess."""
    return int(np.square(images - guess).sum(axis=(1, 2, 3)).argmin())


def main() -> None:
    """Print a table and, as the last line, JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--picture", type=Path, help="where to write the images as PNG")
    options = parser.parse_args()
    with np.load(options.data, allow_pickle=False) as found:
        every = found["test_images"][..., None].astype(np.float32) / 255
        labels = found["test_labels"].ravel()[: options.images]
        mean = (found["train_images"].mean(axis=0)[:, :, None] / 255).astype(np.float32)
    model = build(Cnn(kind="cnn"), SHAPE, 2)
    weights = model.init(1)
    attacker, rows, shown = Attacker(weights), [], []
    hits: list[list[bool]] = []
    for image, label in zip(every, labels, strict=False):
        guesses = [attacker(delta, mean) for delta in updates(model, weights, image, int(label))]
        rows.append([psnr(guess, image) for guess in (*guesses, mean)])
        hits.append([nearest(guess, every) == len(hits) for guess in guesses])
        shown.append([image, *guesses, mean])
    table = Table("image", "from the plain update", "found", "from the masked one", "found", "mean image")
    for number, ((plain, masked, guess), found) in enumerate(zip(rows, hits, strict=True)):
        answers = ["yes" if hit else "no" for hit in found]
        table.add_row(str(number), f"{plain:.1f}", answers[0], f"{masked:.1f}", answers[1], f"{guess:.1f}")
    terminal.console().print(table)
    if options.picture:
        import matplotlib.pyplot as plt

        plt.imsave(options.picture, np.concatenate([np.concatenate(r, axis=1) for r in shown])[:, :, 0], cmap="gray")
    plain, masked, guess = np.mean(rows, axis=0)
    result = {"psnr_plain": plain, "psnr_masked": masked, "psnr_mean_image": guess}
    shares = np.mean(hits, axis=0)
    print(json.dumps(result | {"found_plain": shares[0], "found_masked": shares[1], "images": len(rows)}))


if __name__ == "__main__":
    main()
