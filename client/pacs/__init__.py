"""The hospital's image archive (PACS): studies come from it into custody, results go back. How-to: docs/pacs.md.

commands            `python -m client pacs`: add, list, test, find
import_from_pacs    `python -m client import`, of files and of a PACS
open_archive        from settings to an archive that can be asked
pacs_settings       which archives there are, and how each is reached: `pacs.yaml` of the site's folder
archive             what every archive answers: studies, series, images; causes by which something does not arrive
dimse ──> store_receiver, peer_check     C-FIND, C-MOVE and C-STORE, with a receiver of its own
dicomweb ──> multipart_parts    QIDO-RS, WADO-RS and STOW-RS
worklist            accession numbers with labels
send_results ──> result_objects    a prediction as report and picture, into an archive that the policy names
pull ──> arrival_check, pull_pace, pull_report     into custody, study by study; what did not arrive is named
"""
