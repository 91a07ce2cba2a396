"""Starts the server under test, as harness/server.mjs does for the other tests: once per target, stopped by SIGTERM."""

import os
import pathlib
import random
import socket
import subprocess
import threading

HERE = pathlib.Path(__file__).parent
START_S = 60
STOP_S = 30
# Below the kernel's ephemeral range, so that no client connection sits on one.
PORTS = range(20_000, 32_000)


def targets():
    """Name and command of each server to test: ours in four ways, or the Node server."""
    program = os.environ.get("RINGIO_SERVER")
    if not program:
        return {"node": ["node", str(HERE.parent / "node-reference.mjs"), "clients"]}
    found = {
        f"{driver}/{shards}": [program, "clients", "--shards", str(shards), "--driver", driver]
        for driver in ("uring", "epoll")
        for shards in (1, 3)
    }
    wanted = os.environ.get("RINGIO_TARGETS", ",".join(found)).split(",")
    chosen = {name: command for name, command in found.items() if name in wanted}
    if not chosen:
        raise ValueError(f"RINGIO_TARGETS names none of {list(found)}")
    return chosen


class Server:
    def __init__(self, command):
        self._reserve_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = []
        self._ready = threading.Event()
        self._process = subprocess.Popen(
            [*command, "--port", str(self.port)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        threading.Thread(target=self._read, daemon=True).start()
        if not self._ready.wait(START_S) or self._process.poll() is not None:
            self._process.kill()
            raise RuntimeError(f"{command} did not become ready:\n{''.join(self._log)}")

    # The UDP port of the same number is the reservation: servers that share a port by SO_REUSEPORT would not
    # notice each other.
    def _reserve_port(self):
        for port in random.sample(PORTS, 1000):
            self._lock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                self._lock.bind(("127.0.0.1", port))
                with socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True):
                    self.port = port
                    return
            except OSError:
                self._lock.close()
        raise RuntimeError("no free port found")

    def _read(self):
        for line in self._process.stdout:
            self._log.append(line)
            if line.split(maxsplit=1)[:1] in (["ready"], ["ready:"]):
                self._ready.set()
        # Nobody waits longer for a server that has ended.
        self._ready.set()

    def stop(self):
        died = self._process.poll()
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise RuntimeError(f"the server did not stop at SIGTERM:\n{''.join(self._log)}") from None
        finally:
            self._lock.close()
        if died is not None:
            raise RuntimeError(f"the server ended by itself ({died}):\n{''.join(self._log)}")
