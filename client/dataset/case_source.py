"""The cases of any kind of source, as a table."""

from client.sources.case_table import Table
from common.config import DataSource, Encrypted, Folder, Manifest, Npz, Synthetic


def open_table(source: DataSource) -> Table:
    """The cases of any kind of source."""
    if isinstance(source, Synthetic):
        from client.sources import synthetic

        return synthetic.draw(source)
    if isinstance(source, Npz):
        from client.sources import npz

        return npz.read(source)
    if isinstance(source, Encrypted):
        from client.custody import encrypted_cases

        return encrypted_cases.read(source)
    if isinstance(source, Folder | Manifest):
        from client.sources import file_list

        return file_list.read(source)
    raise TypeError(type(source))
