"""An application of the published package 1.4.1 or 1.0.1, driven like `peer_338.py`.

Their interfaces are equal as far as it is used here. Sessions of this generation cannot be left for a while
(`go_offline`), and their members are names without a state. Ids are numbers of 64 bits.
"""

import json_lines
import slim_bindings as slim
from package_1x_to_3x import PackagePeer, start, text_of


class OlderPeer(PackagePeer):
    def encryption(self, mls: bool) -> dict:
        return {"enable_mls": mls}

    def is_encrypted(self, config: slim.SessionConfig) -> bool:
        return config.enable_mls

    async def op_members(self, session: int) -> dict:
        names = await self.sessions[session].participants_list_async()
        return {"members": [{"name": text_of(name), "online": True} for name in names]}


start()
json_lines.run(OlderPeer)
