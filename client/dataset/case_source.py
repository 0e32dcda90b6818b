"""The cases of any kind of source, as a table."""

from client.home import Home
from client.sources.case_table import Table
from common.config import DataSource, Encrypted, Folder, Manifest, Npz, Synthetic


def open_table(source: DataSource, natural: bool = False, home: Home | None = None) -> Table:
    """The cases of any kind of source.

    Args:
        natural: whether the data has to name sites; a list that names none is refused before its images are decoded.
        home: the site that somebody was let in at; an encrypted data set opens with its keys alone.

    Raises:
        AccessError: an encrypted data set, and nobody was let in, or at another site.
        ConfigError, DataError: the data cannot be used as it is.
    """
    if isinstance(source, Synthetic):
        from client.sources import synthetic

        return synthetic.draw(source)
    if isinstance(source, Npz):
        from client.sources import npz

        return npz.read(source)
    if isinstance(source, Encrypted):
        from client.custody import encrypted_cases

        return encrypted_cases.read(source, home)
    if isinstance(source, Folder | Manifest):
        from client.sources import file_list

        return file_list.read(source, natural)
    raise TypeError(type(source))
