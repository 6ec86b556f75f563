"""A proxy between one application and its node that loses messages (`shell/net/examples/lossy_proxy.rs`)."""

import json
import os
import subprocess

from peers import DEADLINE, TARGET, Process

PROXY = os.environ.get("SLIM_LOSSY_PROXY", str(TARGET / "debug/examples/lossy_proxy"))


class LossyProxy(Process):
    """Loses nothing until it is told to."""

    def __init__(self, node_endpoint: str, seed: int, types: str = "data") -> None:
        command = [PROXY, "--target", node_endpoint, "--percent", "0", "--seed", str(seed), "--types", types]
        super().__init__(f"proxy to {node_endpoint}", command, {}, subprocess.PIPE, one_stream=True)
        self.wait_for_line('"listening"')
        self.endpoint = "http://" + json.loads(self.log[0])["address"]
        self._changes = 0

    def lose(self, percent: int) -> None:
        """From now on."""
        self._changes += 1
        self.child.stdin.write(f"{percent}\n")
        self.child.stdin.flush()
        self.wait_for_line('"event":"percent"', self._changes)

    def end(self) -> dict[str, int]:
        """Stops the proxy and says how many messages of each kind it dropped."""
        self.child.stdin.close()
        self.child.wait(DEADLINE)
        for reader in self.readers:
            reader.join()
        dropped: dict[str, int] = {}
        for counted in json.loads(self.log[-1])["messages"]:
            dropped[counted["kind"]] = dropped.get(counted["kind"], 0) + counted["dropped"]
        return dropped
