"""python-socketio's threaded client: requests and websocket-client underneath, so other HTTP and WebSocket habits."""

import queue

import pytest
import socketio

PATIENCE_S = 30


@pytest.fixture
def connect(server, transports):
    clients = []

    def connect(**options):
        client = socketio.Client(reconnection=False, request_timeout=PATIENCE_S)
        client.connect(server.url, transports=transports, wait_timeout=PATIENCE_S, **options)
        clients.append(client)
        return client

    yield connect
    for client in clients:
        client.disconnect()


def listen(client, event, namespace="/"):
    arrived = queue.Queue()
    client.on(event, lambda *arguments: arrived.put(arguments), namespace=namespace)
    return arrived


def call(client, event, *arguments, namespace="/"):
    return client.call(event, arguments, namespace=namespace, timeout=PATIENCE_S)


def test_both_sides_know_the_same_client(connect):
    client = connect(auth={"token": "x"})
    seen = call(client, "whoami")
    assert seen["id"] == client.get_sid()
    assert seen["auth"] == {"token": "x"}


def test_text_and_binary_come_back_in_order(connect):
    client = connect()
    echoes = listen(client, "echo")
    sent = [(number, "é😀" if number % 3 else bytes([number]) * number) for number in range(60)]
    for values in sent:
        client.emit("echo", values)
    assert [echoes.get(timeout=PATIENCE_S) for _ in sent] == sent


def test_large_binary_comes_back_whole(connect):
    client = connect()
    data = bytes(range(256)) * 2500
    assert call(client, "ack", {"data": data}) == {"data": data}


def test_the_server_asks_and_the_client_answers(connect):
    client = connect()
    client.on("question", lambda value: [value, b"\x00\xff"])
    answers = listen(client, "answer")
    client.emit("askme", "how?")
    assert answers.get(timeout=PATIENCE_S) == (True, ["how?", b"\x00\xff"])


def test_namespaces(connect):
    client = connect(namespaces=["/", "/admin"])
    assert call(client, "whoami", namespace="/admin")["id"] == client.get_sid("/admin")
    assert client.get_sid("/admin") != client.get_sid("/")


def test_rooms_across_clients(connect):
    clients = [connect() for _ in range(6)]
    room = f"threads {clients[0].get_sid()}"
    for client in clients[:4]:
        call(client, "join", room)
    heard = [listen(client, "news") for client in clients]
    clients[5].emit("room", (room, "news", {"data": b"\x01"}))
    for arrived in heard[:4]:
        assert arrived.get(timeout=PATIENCE_S) == ({"data": b"\x01"},)
    for client in clients:
        call(client, "ack", "settle")
    assert all(arrived.empty() for arrived in heard)


def test_the_server_disconnects(connect):
    client = connect()
    reasons = listen(client, "disconnect")
    client.emit("kickme", True)
    reasons.get(timeout=PATIENCE_S)
    client.wait()
    assert not client.connected
