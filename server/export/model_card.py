"""The model card: what a shared model is, what it was trained on, how good it is, and what it is not good for.

After Mitchell et al., Model Cards for Model Reporting, FAT* 2019. `server.export.card_page` writes it.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from common.encoders import encoder_library
from common.imaging.embedding import Embed
from common.metrics import intervals
from common.package import PackageContent
from server.export import recorded_figures
from server.export.card_page import Section
from server.report import participation, sentences, verdicts
from server.report.quality_section import NAMES, SHOWN
from server.report.sentences import Result

NOT_TOLD = "not told"
KINDS = {
    "federation": "Trained by hospitals together; no image left any of them.",
    "simulation": "Made by a simulation: one machine played all sites. Not for patients.",
    "synthetic": "Made by a simulation on synthetic images, which a program drew. Not for patients.",
}


@dataclass(frozen=True)
class CardTerms:
    """What the publisher says on the card: intended use, licence, countries."""

    intended: str
    licence: str
    countries: Mapping[str, str] = field(default_factory=dict)
    """Each site's country, by the site's name."""


def sections(content: PackageContent, result: Result, terms: CardTerms) -> list[Section]:
    """All sections of the card."""
    provenance = content.provenance
    return [
        Section(
            "What it is",
            [KINDS[provenance.kind], sentences.summary(result), "Research software, not a medical device."],
        ),
        Section(
            "Intended use", [terms.intended, f"It answers: {', '.join(content.labels)}. Images: {_images(content)}."]
        ),
        Section("What it is not good for", sentences.limits(result)),
        _data(result, terms),
        _performance(result),
        _operating_point(content),
        Section("Images unlike the training's", [sentences.lost_likeness(result) or _likeness(content)]),
        Section("Privacy", sentences.privacy(result)),
        Section("Licence", [terms.licence, *_encoder(content)]),
        _provenance(content),
    ]


def _images(content: PackageContent) -> str:
    height, width, channels = content.shape
    steps = "; ".join(step.label() for step in content.preprocess)
    return (
        f"after preprocessing {height}×{width} pixels, {'grey' if channels == 1 else f'{channels} channels'} ({steps})"
    )


def _encoder(content: PackageContent) -> list[str]:
    """What is known of the encoder that looks at the images first."""
    steps = [step for step in content.preprocess if isinstance(step, Embed) and step.sha256]
    abouts = [(encoder_library.load(str(step.sha256)).about, step.sha256) for step in steps]
    return [
        f"Its encoder {about.name} (SHA-256 {sha256}) is not in this file: {about.licence}; {about.source}. It was "
        f"trained on {about.trained_on}."
        for about, sha256 in abouts
    ]


def _data(result: Result, terms: CardTerms) -> Section:
    if not sentences.is_simulated(result):
        participants = participation.of_result(result)
        rows = [
            [site, terms.countries.get(site, NOT_TOLD), str(participants[site]["rounds"])]
            for site in sentences.trainers(result)
        ]
        lines = [
            "How many cases each site or country has is not known to the coordinator: secure aggregation hides it.",
            *([cases.text] if (cases := recorded_figures.judged_cases(result)) else []),
        ]
        return Section("Data", lines, ["site", "country", "rounds in the model"], rows)
    rows, parts = [], ("train", "validation") if verdicts.is_common(result) else ("train", "validation", "test")
    for country, sites in _by_country(sentences.trainers(result), terms.countries).items():
        numbers = [
            sum(result["sites"][site]["by_class"][part][label] for site in sites)
            for part in parts
            for label in range(len(result["labels"]))
        ]
        rows.append([country, ", ".join(sites), *map(str, numbers)])
    part_names = {"train": "training"}
    head = [
        "country",
        "sites",
        *(f"{part_names.get(part, part)}: {name}" for part in parts for name in result["labels"]),
    ]
    what = "with every finding, as far as it is known" if sentences.has_findings(result) else "of every class"
    lines = [f"{result['origin']}.", f"Cases {what} (first seed); countries as the publisher says."]
    return Section("Data", lines, head, rows)


def _by_country(sites: Sequence[str], countries: Mapping[str, str]) -> dict[str, list[str]]:
    countries_sites: dict[str, list[str]] = {}
    for site in sites:
        countries_sites.setdefault(countries.get(site, NOT_TOLD), []).append(site)
    return dict(sorted(countries_sites.items()))


def _performance(result: Result) -> Section:
    """Figures with 95 % intervals; of single sites only where a simulation knows them."""
    rows = [
        [row.of, str(row.n), *(intervals.format_interval(of.get(f), of.get(f"{f}_interval")) for f in SHOWN)]
        for row in recorded_figures.figure_rows(result)
        for of in [row.figures]
    ]
    if not rows:
        return Section("Performance", [sentences.no_figures(result)])
    lines = [f"{recorded_figures.on_what(result)} In brackets 95 % intervals.", *verdicts.verdicts(result)]
    if not sentences.is_simulated(result):
        lines.append("What the model reaches at each site is not published: only sums left the sites.")
    lines += [why] if (why := verdicts.recognition(result)) else []
    return Section("Performance", lines, ["cases of", "n", *(NAMES[f] for f in SHOWN)], rows)


def _operating_point(content: PackageContent) -> Section:
    lines = []
    if isinstance(content.threshold, tuple):
        points = ", ".join(f"{point:.4g} {name}" for point, name in zip(content.threshold, content.labels, strict=True))
        lines.append(
            f"Log-odds above so much say that a finding is there: {points}. Each was chosen on the summed counts of "
            f"the validation cases that know it, for {sentences.aim(content.rule)}."
        )
    elif content.threshold is not None:
        lines.append(
            f"Log-odds above {content.threshold:.4g} count as {content.labels[1]}: chosen on the summed validation "
            f"counts for {sentences.aim(content.rule)}."
        )
    else:
        lines.append("The class of the largest score is the answer.")
    if content.calibration:
        lines.append(
            "Probabilities are fitted to the summed validation counts (Platt). They hold where the classes are as "
            "frequent as they were there."
        )
    return Section("Operating point and probabilities", lines)


def _likeness(content: PackageContent) -> str:
    if content.likeness is None:
        return "The run gathered nothing to tell them by: no warning is given for an image of another kind."
    limits = content.likeness
    return (
        f"An image is called unlike where its characteristics lie farther from the training images' than those of all "
        f"but {100 * limits.share:.1f} % of {limits.validation} validation cases. What is called like them need not be."
    )


def _provenance(content: PackageContent) -> Section:
    provenance = content.provenance
    rows = [["run", provenance.run], ["sites", ", ".join(provenance.sites)], ["publisher", content.publisher.name]]
    if provenance.plan:
        rows.append(["plan", provenance.plan])
    if provenance.roster is not None:
        rows.append(["roster", f"version {provenance.roster}, {provenance.roster_digest}"])
    if provenance.audit_head:
        rows.append(
            ["log of the coordinator", f"{provenance.audit_head.size} entries, root {provenance.audit_head.root}"]
        )
    rows += [["release", provenance.release], ["code at the sites", provenance.code], ["weights", provenance.weights],
             ["preprocessing", content.fingerprint],
             ["exported", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(provenance.exported_s))]]  # fmt: skip
    return Section("Provenance", [], ["what", "which"], rows)
