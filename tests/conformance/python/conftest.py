"""One server per target for all tests of the run; each test is run against each target with each way to talk."""

import pytest
from engineio.payload import Payload

from server import Server, targets

# python-engineio gives up a polling answer of more than 16 packets; its documentation says to raise this where more is usual.
Payload.max_decode_packets = 10_000

WAYS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": ["polling", "websocket"]}


@pytest.fixture(scope="session", params=list(targets().items()), ids=lambda target: target[0])
def server(request):
    running = Server(request.param[1])
    yield running
    running.stop()


@pytest.fixture(params=list(WAYS.values()), ids=list(WAYS))
def transports(request):
    return request.param
