"""An application of the published package 0.4.1, the tutorial's generation, driven like `peer_338.py`.

`remove` is not in the public interface of that package; its native module has it.
"""

import os

import json_lines
import slim_bindings as slim
from slim_bindings import _slim_bindings as native
from tutorial_api import TutorialPeer, key_of, name_of


class Peer041(TutorialPeer):
    async def op_app(self, name: str, secret: str) -> str:
        await slim.init_tracing({"log_level": os.environ.get("PEER_LOG", "info")})
        return await super().op_app(name, secret)

    def text_of(self, name: slim.PyName) -> str:
        # Its wire has no texts of names but in subscriptions.
        return "/".join(f"{part:016x}" for part in name.components())

    def details(self, info: slim.PySessionInfo) -> dict:
        return {"type": info.payload_type}

    def is_end(self, error: Exception) -> bool:
        return "not found" in str(error)

    async def op_remove(self, session: int, name: str) -> None:
        # Only with its id does the package find the member.
        member = self.contexts[session, key_of(name_of(name))].source_name
        await native.remove(self.app.svc, self.sessions[session], member)


json_lines.run(Peer041)
