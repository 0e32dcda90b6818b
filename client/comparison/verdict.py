"""What a comparison says, in words: without what trains, for whoever only reads results."""

from typing import Any


def verdict(result: dict[str, Any]) -> str:
    """What the difference says, in words."""
    n, gap = sum(result["by_class"]), result["better_by"]
    if gap is None:
        return f"{n} test cases are too few, or of too many classes, to say which model is better here."
    low, high = gap["interval"]
    by = f"{gap['auc']:+.3f} AUC (95 % interval {low:+.3f} to {high:+.3f}, on the same {n} test cases)"
    if low > 0:
        return f"Training together was worth it here: {by} against training alone."
    if high < 0:
        return f"Here the model trained alone is better: {by} for the federated one. See the personalised one."
    return f"Which is better here these cases cannot tell: {by} for the federated model."
