"""A way to a server on this machine on which connections can die, as those of a frozen function do."""

import contextlib
import socket
import struct
import threading

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with which closing a socket sends RST."""


class Wire:
    """A way to a server on this machine on which connections can die without either end's doing."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections: list[socket.socket] = []
        self._dead: dict[socket.socket, str] = {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port_here = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port_here}"
        threading.Thread(target=self._accept, daemon=True).start()

    def die(self, how: str) -> None:
        """Have every connection that there is die: at the next bytes by `reset`, or by having them `swallowed`."""
        self._dead |= dict.fromkeys(self.connections, how)

    def close(self) -> None:
        self._listener.close()
        for connection in self.connections:
            connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections.append(connection)
                server = socket.create_connection(("127.0.0.1", self.port))
                threading.Thread(target=self._carry, args=(connection, server), daemon=True).start()
                threading.Thread(target=self._carry_back, args=(server, connection), daemon=True).start()

    def _carry(self, connection: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError), server:
            while sent := connection.recv(65_536):
                how = self._dead.get(connection)
                if how == "reset":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    connection.close()
                    return
                if how is None:
                    server.sendall(sent)

    def _carry_back(self, server: socket.socket, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while sent := server.recv(65_536):
                connection.sendall(sent)
