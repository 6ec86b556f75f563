"""A relay of TCP connections that counts them, to see who dials how often."""

import socket
import threading


class Relay:
    """Forwards each connection to the node; both ends close when either does."""

    def __init__(self, node) -> None:
        self._target = ("127.0.0.1", node.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.accepted = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # Wakes the thread that accepts; closing alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def __enter__(self) -> "Relay":
        return self

    def __exit__(self, *_exception) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return  # closed
            self.accepted += 1
            try:
                node = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            for source, sink in [(client, node), (node, client)]:
                threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass  # the other direction has closed both
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # closed already
