"""Connections over WebSocket and over a socket file: an endpoint is all that is different."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import application, run

PLAIN: dict[str, Any] = {"insecure": True}


@pytest.mark.parametrize("transport", ["ws", "unix"])
def test_a_node_is_reached_over_another_transport(tmp_path: Path, transport: str) -> None:
    wanted = "ws://127.0.0.1:0/slim" if transport == "ws" else f"unix://{tmp_path}/s"

    async def scene() -> None:
        alice = await application(None, f"alice-{transport}")
        endpoint = await alice.run_server({"endpoint": wanted, "tls": PLAIN})
        assert endpoint.startswith(f"{transport}://")
        # Resolves when the link is negotiated and the node has confirmed the name.
        await alice.connect({"endpoint": endpoint, "tls": PLAIN})
        await alice.disconnect(endpoint)
        await alice.stop_server(endpoint)
        with pytest.raises(ConnectionError):
            await alice.connect({
                "endpoint": endpoint,
                "tls": PLAIN,
                "backoff": {"type": "fixed_interval", "interval": "10ms", "max_attempts": 1},
            })

    run(scene())


def test_an_endpoint_that_does_not_fit_its_tls_says_so() -> None:
    async def scene() -> None:
        alice = await application(None, "alice-mismatch")
        with pytest.raises(ValueError, match="write ws://, or remove tls.insecure"):
            await alice.connect({"endpoint": "wss://127.0.0.1:1", "tls": PLAIN})

    run(scene())
