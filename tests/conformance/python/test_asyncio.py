"""python-socketio's asyncio client."""

import asyncio

import pytest
import socketio

PATIENCE_S = 30
VALUES = [
    "text",
    "",
    "Grüße, 你好, 😀, \u2028 \"\\/",
    None,
    True,
    -1.5,
    2**53,
    [],
    {},
    [[1, [2, {"a": None}]]],
    {"Schlüssel": {"nested": [1, "two"]}},
]


def run(test):
    """Runs the coroutine to its end, or fails it when patience ends."""
    return asyncio.run(asyncio.wait_for(test, PATIENCE_S))


async def connect(server, transports, **options):
    client = socketio.AsyncClient(reconnection=False, request_timeout=PATIENCE_S)
    await client.connect(server.url, transports=transports, wait_timeout=PATIENCE_S, **options)
    return client


def listen(client, event, namespace="/"):
    """A queue of what arrives under this name, each as its tuple of arguments."""
    queue = asyncio.Queue()

    async def arrived(*arguments):
        await queue.put(arguments)

    client.on(event, arrived, namespace=namespace)
    return queue


def call(client, event, *arguments, namespace="/"):
    return client.call(event, arguments, namespace=namespace, timeout=PATIENCE_S)


async def upgraded(client, transports):
    while client.transport() != transports[-1]:
        await asyncio.sleep(0.02)


def test_both_sides_know_the_same_client(server, transports):
    async def story():
        client = await connect(server, transports, auth={"token": "Ünïcødé"})
        await upgraded(client, transports)
        seen = await call(client, "whoami")
        assert seen["id"] == client.get_sid()
        assert seen["auth"] == {"token": "Ünïcødé"}
        assert seen["transport"] == transports[-1]
        await client.disconnect()

    run(story())


def test_values_come_back_as_they_were(server, transports):
    async def story():
        client = await connect(server, transports)
        echoes = listen(client, "echo")
        for value in VALUES:
            await client.emit("echo", value)
            # To this library None alone means no arguments.
            assert await echoes.get() == (() if value is None else (value,))
        await client.emit("echo", ("several", 2, None, {"three": 3}))
        assert await echoes.get() == ("several", 2, None, {"three": 3})
        await client.disconnect()

    run(story())


def test_large_text_and_binary_come_back_whole(server, transports):
    async def story():
        client = await connect(server, transports)
        echoes = listen(client, "echo")
        text, data = "0123456789" * 80_000, bytes(range(256)) * 2000
        await client.emit("echo", text)
        assert await echoes.get() == (text,)
        await client.emit("echo", {"deep": [data, {"deeper": b"\x00\xff"}], "text": "between"})
        assert await echoes.get() == ({"deep": [data, {"deeper": b"\x00\xff"}], "text": "between"},)
        binary = listen(client, "bin")
        await client.emit("bin", b"")
        assert await binary.get() == (b"",)
        await client.disconnect()

    run(story())


def test_acknowledgements_in_both_directions(server, transports):
    async def story():
        client = await connect(server, transports)
        answers = await asyncio.gather(*(call(client, "ack", {"number": number}) for number in range(50)))
        assert answers == [{"number": number} for number in range(50)]
        assert await call(client, "ack", "two", b"\x01\x02") == ("two", b"\x01\x02")

        client.on("question", lambda text, data: {"text": text, "data": data + data})
        heard = listen(client, "answer")
        await client.emit("askme", ("how?", b"\x01"))
        assert await heard.get() == (True, {"text": "how?", "data": b"\x01\x01"})
        await client.disconnect()

    run(story())


def test_an_acknowledgement_that_comes_too_late(server, transports):
    async def story():
        client = await connect(server, transports)
        late = f"late {client.get_sid()}"
        with pytest.raises(socketio.exceptions.TimeoutError):
            await client.call("hold", late, timeout=0.05)
        await call(client, "release", late)
        assert await call(client, "slow", 1, "next") == "next"
        await client.disconnect()

    run(story())


def test_namespaces_share_one_connection_and_nothing_else(server, transports):
    async def story():
        client = await connect(server, transports, namespaces=["/", "/admin"])
        assert client.get_sid("/") != client.get_sid("/admin")
        await call(client, "join", "hall")
        await call(client, "join", "hall", namespace="/admin")
        main, admin = listen(client, "news"), listen(client, "news", "/admin")
        await client.emit("room", ("hall", "news", 1), namespace="/admin")
        assert await admin.get() == (1,)
        await call(client, "ack", 1)
        assert main.empty()
        await client.disconnect()

    run(story())


def test_a_namespace_that_does_not_exist_is_refused(server, transports):
    async def story():
        client = socketio.AsyncClient(reconnection=False, request_timeout=PATIENCE_S)
        refusals = listen(client, "connect_error", "/refused")
        with pytest.raises(socketio.exceptions.ConnectionError):
            await client.connect(server.url, transports=transports, namespaces=["/refused"], wait_timeout=PATIENCE_S)
        assert await refusals.get() == ({"message": "Invalid namespace"},)
        await client.disconnect()

    run(story())


def test_rooms_reach_every_member_once_and_in_order(server, transports):
    async def story():
        clients = await asyncio.gather(*(connect(server, transports) for _ in range(9)))
        room = f"python {clients[0].get_sid()}"
        await asyncio.gather(*(call(client, "join", room) for client in clients[:6]))
        heard = [listen(client, "numbered") for client in clients]
        for number in range(100):
            await clients[7].emit("room", (room, "numbered", number))
        for queue in heard[:6]:
            assert [await queue.get() for _ in range(100)] == [(number,) for number in range(100)]
        await asyncio.gather(*(call(client, "ack", "settle") for client in clients))
        assert all(queue.empty() for queue in heard)
        ids = await call(clients[8], "peers", room)
        assert ids == sorted(client.get_sid() for client in clients[:6])
        await asyncio.gather(*(client.disconnect() for client in clients))

    run(story())


@pytest.mark.parametrize("close", [False, True], ids=["namespace", "everything"])
def test_the_server_disconnects(server, transports, close):
    async def story():
        client = await connect(server, transports)
        reasons = listen(client, "disconnect")
        await client.emit("kickme", close)
        assert len(await reasons.get()) <= 1
        await client.wait()
        assert not client.connected

    run(story())


def test_the_server_knows_why_a_client_left(server, transports):
    async def story():
        client, witness = await connect(server, transports), await connect(server, ["websocket"])
        sid = client.get_sid()
        await client.disconnect()
        while True:
            rows = [row for row in await call(witness, "reasons") if row[1] == sid]
            if len(rows) == 2:
                break
            await asyncio.sleep(0.02)
        assert [row[0] for row in rows] == ["disconnecting", "disconnect"]
        assert rows[0][2] in ("client namespace disconnect", "transport close")
        assert [row[3:] for row in rows] == [[1, True], [0, False]]
        await witness.disconnect()

    run(story())
