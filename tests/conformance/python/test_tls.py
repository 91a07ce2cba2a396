"""Both clients over https and wss, with a certificate that openssl makes for the run."""

import asyncio
import subprocess

import pytest
import requests
import socketio

from server import Server, targets

PATIENCE_S = 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out chain.pem"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(["openssl", *command.split(), *names], cwd=folder, check=True, capture_output=True)
    (folder / "ca.pem").write_bytes((folder / "chain.pem").read_bytes())
    return folder


@pytest.fixture(scope="module", params=list(targets().items()), ids=lambda target: target[0])
def server(request, folder):
    running = Server([*request.param[1], "--tls", str(folder)])
    running.url = running.url.replace("http:", "https:")
    yield running
    running.stop()


def test_asyncio(server, transports):
    async def story():
        client = socketio.AsyncClient(reconnection=False, request_timeout=PATIENCE_S, ssl_verify=False)
        await client.connect(server.url, transports=transports, wait_timeout=PATIENCE_S)
        assert await client.call("ack", "Ünïcødé", timeout=PATIENCE_S) == "Ünïcødé"
        assert await client.call("secure", timeout=PATIENCE_S) is True
        large = bytes(range(256)) * 2000
        assert await client.call("ack", large, timeout=PATIENCE_S) == large
        await client.disconnect()

    asyncio.run(asyncio.wait_for(story(), PATIENCE_S))


# By polling only: over WebSocket this client reads and writes one OpenSSL object from two threads, and stands still now and then
# with whatever server (3 of 532 connections to Node's, 19 of 1,084 to ours).
@pytest.mark.parametrize("transports", [["polling"]])
def test_threads(server, transports, folder):
    session = requests.Session()
    session.trust_env = False  # An authority of the machine's own would take the place of ours.
    session.verify = str(folder / "ca.pem")
    client = socketio.Client(reconnection=False, request_timeout=PATIENCE_S, http_session=session)
    client.connect(server.url, transports=transports, wait_timeout=PATIENCE_S)
    assert client.call("ack", "Ünïcødé", timeout=PATIENCE_S) == "Ünïcødé"
    large = bytes(range(256)) * 2000
    assert client.call("ack", large, timeout=PATIENCE_S) == large
    client.disconnect()


def test_who_does_not_trust_the_certificate_does_not_connect(server, transports):
    client = socketio.Client(reconnection=False, request_timeout=PATIENCE_S)
    with pytest.raises(socketio.exceptions.ConnectionError):
        client.connect(server.url, transports=transports, wait_timeout=PATIENCE_S)
