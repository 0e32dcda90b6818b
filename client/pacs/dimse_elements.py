"""What is asked over DIMSE, and the texts of what is answered."""

from pydicom.dataset import Dataset

from client.pacs.archive import shortened


def query_of(level: str, keys: dict[str, str]) -> Dataset:
    """The identifier of a C-FIND or C-MOVE at a level (PS3.4 C.4); a key without a value is asked for."""
    query = Dataset()
    query.QueryRetrieveLevel = level
    if not all(value.isascii() for value in keys.values()):
        query.SpecificCharacterSet = "ISO_IR 192"
    for key, value in keys.items():
        setattr(query, key, value)
    return query


def texts_of(answer: Dataset, key: str) -> tuple[str, ...]:
    """The values of an element of an answer."""
    value = answer.get(key) or ()
    return tuple(shortened(str(each)) for each in ((value,) if isinstance(value, str) else value))


def text_of(answer: Dataset, key: str) -> str:
    """The value of an element of an answer; empty: it has none."""
    return shortened(str(answer.get(key) or ""))
