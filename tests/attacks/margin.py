"""How a coordinator reads one patient's image off the SVM's sums over all hospitals.

Every point w of the SVM splits the cases into those inside the margin and those outside, and the sums of loss Σ h² and
gradient Σ -2 h s z over those inside, with z = (φ(x), 1) and h = max(0, 1 - s f), are exact. Far out on a line w(t) =
(t u, B) all cases of class 0 are inside and none of class 1 is: up to where the first case crosses, the gradient is
linear in t. Just beyond, what it is off by is that one case, h z; the last entry of z is 1. That it is one case and not
several the sums say themselves: (Σ h)² = Σ h².
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Sums = tuple[Floats, Floats]
"""Loss float64[points], and gradient float64[points, d]."""
Ask = Callable[[Floats], Sums]
"""The sums over all hospitals at points float64[points, d]."""


@dataclass
class Line:
    """The points on one line, and what was summed there.

    Args:
        ask: how the sums come; at most `together` points at a time.
    """

    direction: Floats
    intercept: float
    ask: Ask
    together: int = 4
    questions: int = 0

    def image(self, most_questions: int) -> Floats | None:
        """φ of one case, float64[d - 1]; nothing where no single one is found in so many questions."""
        (_, *first), (near, *second) = list(self._sums([0.0, 1.0]))
        low, high, best, steps = near, float("inf"), (0.0, np.zeros(0)), [4.0**p for p in range(1, self.together + 1)]
        while self.questions < most_questions:
            for step, loss, gradient in self._sums(steps):
                off = gradient - (first[1] + step / near * (second[1] - first[1]))
                fall = float(first[1][:-1] @ self.direction)
                more = loss - (first[0] + step * fall + (step / near) ** 2 * (second[0] - first[0] - near * fall))
                hinge = abs(float(off[-1])) / 2
                if hinge < 1e-6 * self.intercept * step:
                    if low < step < high:  # from where a straight line is drawn the shorter way
                        low, near, second = step, step, [loss, gradient]
                    continue
                high = min(high, step)
                if abs(hinge**2 - abs(more)) < 1e-2 * hinge**2 and hinge > best[0]:
                    best = hinge, off[:-1] / off[-1]
            steps = list(np.linspace(low, high, self.together + 2)[1:-1]) if np.isfinite(high) else [4 * steps[-1]]
        return best[1] if best[0] else None

    def _sums(self, steps: list[float]) -> Iterator[tuple[float, float, Floats]]:
        """Step, loss and gradient at every step; the last is asked again where they are too few for a question."""
        for start in range(0, len(steps), self.together):
            some = steps[start : start + self.together]
            padded = some + [some[-1]] * (self.together - len(some))
            self.questions += 1
            loss, gradient = self.ask(np.array([[*(step * self.direction), self.intercept] for step in padded]))
            yield from zip(some, loss[: len(some)], gradient[: len(some)], strict=True)
