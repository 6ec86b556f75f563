"""An application of our own Python package, driven like `peer_338.py`: the tutorial's interface against other software."""

import uuid

import json_lines
import slim_bindings as slim
from tutorial_api import TutorialPeer


class PackagePeer(TutorialPeer):
    def text_of(self, name: slim.PyName) -> str:
        return "/".join(name.components_strings()) + f"/{uuid.UUID(int=name.id)}"

    def details(self, info: slim.PySessionInfo) -> dict:
        return {"direct": info.direct}

    def is_end(self, error: Exception) -> bool:
        return isinstance(error, slim.SLIMSessionClosedError)


json_lines.run(PackagePeer)
