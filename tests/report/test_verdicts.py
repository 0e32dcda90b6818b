"""What the differences of a run say in words, and why its figure over all cases may flatter."""

from typing import Any

from server.report import verdicts


def gaps(mean: float, low: float, high: float, worse: list[str], better: list[str]) -> dict[str, Any]:
    sites = {name: {"auc": 0.0, "interval": [0.0, 0.0]} for name in "abcd"}
    return {"sites": sites, "mean": {"auc": mean, "interval": [low, high]}, "worse": worse, "better": better}


def test_a_model_that_is_worse_than_alone_is_not_to_be_deployed() -> None:
    (text,) = verdicts.verdicts({"differences": {"federated-local": gaps(-0.14, -0.18, -0.1, ["a", "b", "c"], [])}})
    assert "worse than what each site has alone at 3 of 4 sites, on average by 0.140 (0.100 to 0.180)" in text
    assert text.endswith("do not deploy.")
    assert verdicts.is_warning(text)
    (text,) = verdicts.verdicts({"differences": {"federated-local": gaps(0.1, 0.02, 0.2, ["d"], ["a"])}})
    assert "better than" in text
    assert text.endswith("worse at d: do not deploy there.")
    (text,) = verdicts.verdicts({"differences": {"personalised-local": gaps(0.0, -0.1, 0.1, [], [])}})
    assert "not told apart" in text
    assert not verdicts.is_warning(text)


def test_a_figure_that_comes_of_recognising_the_site_is_called_so() -> None:
    result: dict[str, Any] = {
        "seeds": [], "labels": ["clear", "disease"],
        "config": {"sites": {"test_on": "own"}, "model": {"kind": "svm"}},
        "sites": {"a": {"by_class": {"test": [97, 3]}}, "b": {"by_class": {"test": [59, 41]}}},
        "sites_mean": {"federated": {"auc": 0.71, "auc_interval": [0.68, 0.74]}},
        "test": {"federated": {"auc": 0.821}},
    }  # fmt: skip
    text = verdicts.recognition(result)
    assert "Over all cases together the AUC is 0.821, within the sites 0.710 (0.680–0.740)" in text
    assert "3 to 41 % of a site's test cases are disease" in text
    result["test"]["federated"]["auc"] = 0.73
    assert verdicts.recognition(result) == ""
