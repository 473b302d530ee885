"""What metrics need on a machine, declared without torch, so that a metric that cannot be had is refused at once.

The class of a metric refers to its declaration as `requires`; `checking.declared` finds it without importing the class.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from float_research.program import install

FACES = {"dlib": "faces", "face_recognition_models": "faces"}
REAL = "real videos; give their folder with {}=FOLDER"
GIVE = "give a video, the folder of a run, or a folder of videos named after clips"
REFERENCE = f"a video to compare with: {{}}=PATH; {GIVE}"


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """The requirements of the metric with the name `option`.

    `given`: settings that must not be null → what they give, with {} for the setting. `packages`: required packages →
    the extra that installs them. `weights`: settings that name files of weights.
    """

    option: str
    given: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    weights: Sequence[str] = ()

    def lacking(self, setting: Callable[[str], Any]) -> str | None:
        """Returns the first requirement that is not met, or None. `setting` returns the value of a setting."""
        for name, what in self.given.items():
            if setting(name) is None:
                return f"needs {what.format(self._key(name))}"
        if reason := lacking(self.packages):
            return reason
        for name in self.weights:
            if (file := setting(name)) is None:
                return f"needs weights; give their file with {self._key(name)}=FILE"
            if not Path(file).is_file():
                return f"needs weights, and {self._key(name)}={file} does not exist"
        return None

    def _key(self, name: str) -> str:
        return f"metrics.{self.option}.{name}"


def lacking(packages: Mapping[str, str]) -> str | None:
    """Returns which package is not installed and the extra that installs it, or None."""
    absent = [package for package in packages if find_spec(package) is None]
    return f"needs {absent[0]}; {install(packages[absent[0]])}" if absent else None


CSIM = Requirements(option="csim", weights=("network",))
IDENTITY = Requirements(option="identity", packages=FACES)
LANDMARK_DISTANCE = Requirements(option="landmark_distance", given={"reference": REFERENCE})
SIMILARITY = Requirements(option="similarity", given={"reference": REFERENCE})
SYNC_NET = Requirements(option="sync_net", weights=("weights",))
FID = Requirements(option="fid", given={"real": REAL}, weights=("network",))
E_FID = Requirements(option="e_fid", given={"real": REAL}, weights=("network",))
P_FID = Requirements(option="p_fid", given={"real": REAL}, weights=("network",))
FVD = Requirements(option="fvd", given={"real": REAL}, weights=("network",))
