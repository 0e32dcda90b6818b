"""What stood elsewhere in release 0.1: an import of an old name says in one line where its thing is now.

    >>> import client.flower
    ImportError: client.flower of release 0.1 is client.app now: change the import.

Two ways lead to an old name. A module that is gone is looked for by Python in vain, and then by `_OldModules`, which
stands last in `sys.meta_path`. A module that became a package of the same name is there; its attributes are not, and
the package's `__getattr__`, made by `attributes`, says where they went. Nothing old goes on working: two names for one
thing would be worse than one that has changed.
"""

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

MODULES = {
    "client.access.table": "client.access.permissions",
    "client.access.vouched": "client.access.signed_entries",
    "client.archive": "client.sources.safe_npz",
    "client.arrays": "client.sources.npz",
    "client.backup.check": "client.backup.verify",
    "client.backup.choice": "client.backup.file_selection",
    "client.backup.manifest": "client.backup.snapshot",
    "client.backup.models": "client.backup.model_check",
    "client.backup.notes": "client.backup.known_backups",
    "client.backup.opening": "client.backup.unlock",
    "client.backup.take": "client.backup.create",
    "client.backup.vault": "client.backup.repository",
    "client.board": "client.connection.gateway_client",
    "client.cache": "client.sources.image_cache",
    "client.catalogue.offering": "client.catalogue.dataset_offer",
    "client.catalogue.seen": "client.catalogue.listing_check",
    "client.comparing": "client.comparison.commands",
    "client.custody.disk": "client.custody.dataset_writer",
    "client.custody.envelope": "client.custody.sealing",
    "client.custody.gate": "client.custody.events",
    "client.custody.index": "client.custody.dataset_index",
    "client.custody.keys": "client.custody.key_ring",
    "client.custody.options": "client.custody.dataset_index",
    "client.custody.store": "client.custody.encrypted_dataset",
    "client.custody.table": "client.custody.encrypted_cases",
    "client.custody.workers": "client.custody.import_workers",
    "client.custody.wraps": "client.custody.wrapped_keys",
    "client.custody.writer": "client.custody.dataset_writer",
    "client.download": "client.sources.download",
    "client.entries": "client.sources.cache_entry",
    "client.errands": "client.connection.message_handler",
    "client.examine": "client.training.evaluating_site",
    "client.express": "client.connection.fast_path",
    "client.flower": "client.app",
    "client.joining": "client.setup.enrol",
    "client.journal": "client.connection.message_journal",
    "client.line": "client.connection.retry",
    "client.lineage": "client.training.auditing_site",
    "client.link": "client.connection.fleet_client",
    "client.manifest": "client.sources.file_list",
    "client.node": "client.connection.node",
    "client.origin": "client.readers.source",
    "client.own": "client.dataset.for_plan",
    "client.papers": "client.plans.sync",
    "client.personalise": "client.training.personalise",
    "client.prediction.shown": "client.prediction.outcome_table",
    "client.preflight": "client.setup.preflight",
    "client.preview": "client.dataset.preview",
    "client.readers.stored": "client.readers.custody_pixels",
    "client.readiness": "client.dataset.readiness",
    "client.resident": "client.service",
    "client.scanners": "client.sources.scanner_shift",
    "client.secure": "client.training.secure_site",
    "client.shelf": "client.training.audit_store",
    "client.site": "client.training.site",
    "client.splits": "client.dataset.splits",
    "client.synthetic": "client.sources.synthetic",
    "client.table": "client.sources.case_table",
    "client.witness": "client.plans.log_witness",
    "client.worth": "client.comparison.comparison",
    "common.audit.exported": "common.audit.log_copy",
    "common.audit.shown": "common.audit.log_view",
    "common.audit.tree": "common.audit.merkle_tree",
    "common.audit.witnessed": "common.audit.witness_statement",
    "common.calibration": "common.metrics.calibration",
    "common.catalogue.making": "common.catalogue.offer_from_file",
    "common.catalogue.shown": "common.catalogue.listing_view",
    "common.catalogue.typed": "common.catalogue.command_parts",
    "common.command": "common.cli.command",
    "common.credentials": "common.trust.request_signing",
    "common.declared": "common.plans.approvals",
    "common.enrolment": "common.trust.enrolment",
    "common.examined": "common.plans.evaluated_model",
    "common.exchanges": "common.messages.answer_layout",
    "common.figures": "common.cli.curves_picture",
    "common.files": "common.storage.files",
    "common.folder": "common.storage.run_folder",
    "common.intervals": "common.metrics.intervals",
    "common.joining": "common.trust.joining",
    "common.likeness": "common.metrics.out_of_distribution",
    "common.lineage": "common.messages.answer_layout",
    "common.logs": "common.cli.logs",
    "common.models.graphs": "common.models.training_graphs",
    "common.models.quiet": "common.encoders.tensorflow_loading",
    "common.models.tensorflow_loading": "common.encoders.tensorflow_loading",
    "common.package.archive": "common.package.zip_archive",
    "common.package.content": "common.package.package_content",
    "common.package.graph": "common.package.onnx_graph",
    "common.package.reading": "common.package.package_file",
    "common.progress": "common.cli.progress",
    "common.published": "common.plans.site_figures",
    "common.release": "common.trust.release",
    "common.secagg.codec": "common.trust.codec",
    "common.secagg.cores": "common.secagg.parallel",
    "common.secagg.dealing": "common.secagg.secret_sharing",
    "common.secagg.epoch": "common.secagg.key_period",
    "common.secagg.keeper": "common.secagg.durable_participant",
    "common.secagg.keys": "common.trust.keys",
    "common.secagg.machine": "common.secagg.coordinator",
    "common.secagg.messages": "common.secagg.round_messages",
    "common.secagg.plan": "common.secagg.key_period_plan",
    "common.secagg.roster": "common.trust.roster",
    "common.secagg.site": "common.secagg.participant",
    "common.signed": "common.trust.documents",
    "common.tensorfile": "common.storage.tensorfile",
    "common.transport": "common.messages.transport",
    "common.wire": "common.messages.wire",
    "server.authority": "server.consortium.tls",
    "server.bell": "server.superlink.notify",
    "server.board": "server.gateway.site_api",
    "server.card": "server.export.model_card",
    "server.census": "server.processes.process_table",
    "server.checkpoint": "server.rounds.checkpoint",
    "server.conduct": "server.runs.driver",
    "server.counts": "server.results.outcome_counts",
    "server.dashboard.door": "common.web.page_app",
    "server.dashboard.errors": "server.dashboard.errors_page",
    "server.dashboard.live": "server.dashboard.live_page",
    "server.dashboard.lock": "common.web.login",
    "server.dashboard.look": "server.dashboard.consortium_view",
    "server.dashboard.parts_of_consortium": "server.dashboard.consortium_sections",
    "server.dashboard.parts_of_run": "server.dashboard.run_sections",
    "server.dashboard.pushed": "server.dashboard.push",
    "server.dashboard.serving": "common.web.page_server",
    "server.dashboard.shell": "common.web.page_frame",
    "server.doorkeeper": "server.gateway.authentication",
    "server.evaluating": "server.evaluation.commands",
    "server.examined": "server.evaluation.model_store",
    "server.federation": "server.rounds.loop",
    "server.flower": "server.app",
    "server.flower_simulation": "server.app_simulated",
    "server.follow": "server.runs.run_display",
    "server.gathering": "server.rounds.aggregation",
    "server.history": "server.consortium.log_proofs",
    "server.home": "server.consortium.home",
    "server.impatience": "common.web.http_limits",
    "server.keeper": "server.service.scheduler",
    "server.lineage": "server.rounds.audit_feed",
    "server.matrix": "server.results.cross_site",
    "server.membership": "server.consortium.membership",
    "server.offering": "server.catalogue.commands",
    "server.packages": "server.catalogue.packages",
    "server.replies": "server.gateway.push_guard",
    "server.report.catalogue": "server.report.catalogue_page",
    "server.report.compare": "server.comparison.comparison_page",
    "server.report.curves": "server.report.learning_curves",
    "server.report.examination": "server.report.evaluation_page",
    "server.report.heat": "server.report.cross_site_table",
    "server.report.learning": "server.report.rounds_table",
    "server.report.notes": "server.report.chart_labels",
    "server.report.page": "server.report.run_page",
    "server.report.quality": "server.report.quality_section",
    "server.report.words": "server.report.sentences",
    "server.secure": "server.rounds.secure_sum",
    "server.sharing": "server.export.commands",
    "server.standing": "server.runs.status",
    "server.start": "server.service.start",
    "server.store": "server.superlink.store",
    "server.talk": "server.rounds.exchange",
    "server.training": "server.rounds.secure_sum",
    "server.transcripts": "server.rounds.transcripts",
}
"""Modules that are gone, and the ones that have their content."""

ATTRIBUTES = {
    "client.dataset": ("client.dataset.loading", "Dataset=PreparedData load open_table"),
    "common.metrics": (
        "common.metrics.performance",
        "Score margins log_losses count auc_of_counts summary_of_counts operating_point score exact_auc "
        "spread=mean_and_deviation",
    ),
    "common.plans": (
        "common.plans.plan",
        "Verdict=common.plans.decision.Verdict Moment Content=PlanContent RunPlan "
        "Decision=common.plans.decision.Decision",
    ),
    "server.catalogue": ("server.catalogue.catalogue", "Catalogue"),
    "server.evaluation": ("server.evaluation.evaluate", "Done=EvaluationProgress examine=evaluate"),
    "server.export": ("server.export.package", "Publisher=SigningPublisher publisher_key export difference"),
    "server.gateway": (
        "server.gateway.app",
        "Json=server.gateway.site_api.Json Board=server.gateway.routes.SiteApi "
        "RefusedError=server.gateway.request_limits.RequestRefusedError Gateway server main",
    ),
    "server.processes": ("server.processes.supervisor", "Child=ManagedProcess Supervisor"),
    "server.results": (
        "server.results.result_json",
        "Scores SeedResult Remarks as_json sums_over cost versions write save_model show=server.results.screen.show",
    ),
    "server.runs": (
        "server.runs.run",
        "Stage=server.runs.run_state.Stage State=server.runs.run_state.RunState "
        "Asking=server.superlink.exchange_progress.ExchangeProgress Run",
    ),
    "server.superlink": (
        "server.superlink.control", "Command=ProcessCommand commands bundle Node=RegisteredNode Control=ControlApi",
    ),
}  # fmt: skip
"""Modules that are packages now: the module that has their content, and their functions and classes of then. `Old=New`
has another name now; with dots in it, it is in another module."""


def new_place(package: str, name: str) -> str | None:
    """Where a package's attribute of the time when it was a module is now, dotted; None if it had none of this name."""
    module, attributes_of_then = ATTRIBUTES[package]
    for old, _, new in (entry.partition("=") for entry in attributes_of_then.split()):
        if old == name:
            return new if "." in new else f"{module}.{new or old}"
    return None


class _OldModules:
    """Finds no module, but knows those of release 0.1."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        # An ImportError, and not a ModuleNotFoundError: `from client import flower` would swallow that.
        if name in MODULES:
            raise ImportError(_hint(name, MODULES[name]), name=name)
        return None


def install() -> None:
    """Let Python's import ask here for what it finds nowhere else. A second call changes nothing."""
    if _OldModules not in sys.meta_path:
        sys.meta_path.append(_OldModules)


def attributes(package: str) -> Callable[[str], object]:
    """The `__getattr__` of a package that was a module: it raises, for old attributes with their new place."""

    def getattr_(name: str) -> object:
        if place := new_place(package, name):
            raise ImportError(_hint(f"{package}.{name}", place), name=package)
        raise AttributeError(f"module '{package}' has no attribute '{name}'")

    return getattr_


def _hint(old: str, new: str) -> str:
    return f"{old} of release 0.1 is {new} now: change the import."
