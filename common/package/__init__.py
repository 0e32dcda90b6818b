"""A trained model in one signed file that any hospital can check and use. The format is in docs/sharing.md.

zip_archive        the file: a plain zip archive of which there is only one for the same members
package_content    what package.json says, and what of it has to fit together
package_file       from a file to a `ModelPackage`, through every check; from parts to a file
onnx_graph         the same model as an ONNX graph
"""

from common.package.package_content import Calibration, PackageContent
from common.package.package_file import (
    SUFFIX,
    ModelPackage,
    build_package,
    draw_up_package,
    load_verified_package,
    pack_package,
)

__all__ = [
    "SUFFIX",
    "Calibration",
    "ModelPackage",
    "PackageContent",
    "build_package",
    "draw_up_package",
    "load_verified_package",
    "pack_package",
]
