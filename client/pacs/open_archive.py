"""From settings to an archive that can be asked."""

from client.pacs.archive import Archive
from client.pacs.pacs_settings import DimsePacs, PacsSettings


def open_archive(settings: PacsSettings) -> Archive:
    """The archive; it is connected to when it is asked first.

    Raises:
        ConfigError: a certificate, key or secret cannot be read.
    """
    if isinstance(settings, DimsePacs):
        from client.pacs.dimse import DimseArchive  # half a second that no other command should wait for

        return DimseArchive(settings)
    from client.pacs.dicomweb import DicomWebArchive

    return DicomWebArchive(settings)
