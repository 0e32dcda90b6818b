"""Where the real DICOM files are that pydicom and pydicom-data bring along; nothing is downloaded."""

import importlib.util
from pathlib import Path

import pydicom.data.test_files

SMALL = Path(pydicom.data.test_files.__path__[0])
_LARGE = importlib.util.find_spec("data_store")  # pydicom-data's import name
FOLDERS = [SMALL] + ([Path(_LARGE.origin).parent / "data"] if _LARGE and _LARGE.origin else [])
