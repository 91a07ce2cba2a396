// What no client of good manners sends: packets, frames and requests, each of which has an answer that Node gives.

const PLACE = '{"_placeholder":true,"num":0}';
const text = (...texts) => texts.map((one) => (typeof one === "string" ? { text: one } : one));
const bytes = (hex) => ({ base64: Buffer.from(hex, "hex").toString("base64") });

/** Lists of packets that are sent together. */
export const badPackets = [
  // Engine.IO
  ...["9", "abc", "", "€", "0", '0{"sid":"x"}', "5", "6", "3", "3probe", "2", "2probe", "1", "4", "b", "bAQID", "b!!"].map((one) => text(one)),
  // Socket.IO: kinds, ids, payloads
  ...["47", "4x", "42", "42[]", "42{}", "42[null]", '42[["a"]]', "42[1,2]", "42woooot", '42["ack",1', '42["ack",1]]', '42["connect"]', '42["disconnecting"]', '42["newListener"]'].map((one) => text(one)),
  ...["41{}", "41[]", "41", "41/chat,", "41/chat", "43[]", "431{}", "431", "43999[1]", '4399["late"]', '44{"message":"no"}', "44"].map((one) => text(one)),
  ...['42-1["ack",1]', '421.5["ack",1]', '4201["ack",1]', '421e2["ack",1]'].map((one) => text(one)),
  ...["40[]", '40"a"', "40null", "40{", "401", "40/chat,[]", "40/chat,1", "40/chat", "40/", "40/,", "40//", '40/chat{"a":1}', "40/chat?a=1,", "40,"].map((one) => text(one)),
  ...['42/chat,["ack",1]', '42/nope,["ack",1]', '42/["ack",1]', '42/,["ack",1]', '42/chat["ack",1]', '42,["ack",1]'].map((one) => text(one)),
  ...['42["__proto__",{"__proto__":{"a":1}}]', '42["constructor"]', '42["message",1]', '42["error","x"]', '42["connection"]', '42[""]', '42["echo","\\u0041\\ud83d\\ude00"]', '42["echo",1.0,1e2,-0]', '42[ "echo" , { "a" : [ 1 ] } ]'].map((one) => text(one)),
  // attachments
  ...["45", '45["a"]', '45x-["a"]', '451["a"]', '450-["a"]', '4511-["a"]', '45-1-["a"]'].map((one) => text(one)),
  text(bytes("010203")),
  text(`451-["echo",${PLACE}]`, '42["ack",1]'),
  text(`451-["echo",${PLACE}]`, bytes("01"), bytes("02")),
  text(`451-["echo",${PLACE}]`, "3", bytes("01")),
  text('451-["echo",1]', bytes("01")),
  text('451-["echo",{"_placeholder":true,"num":1}]', bytes("01")),
  text('451-["echo",{"_placeholder":true,"num":-1}]', bytes("01")),
  text('451-["echo",{"_placeholder":true,"num":"0"}]', bytes("01")),
  text('451-["echo",{"_placeholder":true}]', bytes("01")),
  text('451-["echo",{"_placeholder":1,"num":0}]', bytes("01")),
  text('451-["echo",{"_placeholder":true,"num":0,"more":1}]', bytes("01")),
  text(`451-["echo",${PLACE},${PLACE}]`, bytes("01")),
  text(`452-["echo",${PLACE},{"_placeholder":true,"num":1}]`, bytes("01"), bytes("")),
  text(`452-["echo",{"_placeholder":true,"num":1},${PLACE}]`, bytes("01"), bytes("02")),
  text(`451-7["ack",{"a":[${PLACE}]}]`, bytes("00ff")),
  text(`461-5[${PLACE}]`, bytes("00ff")),
  text(`451-["echo",${PLACE}]`),
  text(`451-[${PLACE}]`, bytes("01")),
  text(`451-/chat,["echo",${PLACE}]`, bytes("01")),
];

/** Binary messages that the parser of msgpack refuses. */
export const badMsgpack = [
  "c1", "00", "c0", "90", "80", "81a47479706502", "ff", "c403010203", "a3616263",
  // {type, nsp, data} and what is wrong with it
  "83a47479706502a36e7370a12fa46461746180", // data is a map
  "83a47479706509a36e7370a12fa46461746190", // kind 9
  "83a474797065a132a36e7370a12fa46461746190", // kind "2"
  "83a47479706502a36e737001a46461746190", // namespace 1
  "84a47479706502a36e7370a12fa464617461" + "91a46563686f" + "a26964a131", // id "1"
  "83a47479706502a36e7370a12fa464617461" + "9101", // an event named 1
  "83a47479706501a36e7370a12fa46461746180", // DISCONNECT with data
  "83a47479706500a36e7370a12fa46461746190", // CONNECT with a list
  "83a47479706504a36e7370a12fa464617461a0", // CONNECT_ERROR of a client
  "83a47479706502a36e7370a12fa464617461", // cut short
  "83a47479706502a36e7370a12fa464617461" + "92a46563686fd9", // cut short in an argument
].map((hex) => text(bytes(hex)));

/** Lists of frames for `frame` of the harness; `hex` is the payload. */
export const badFrames = [
  [{ text: "hello", masked: false }],
  [{ text: "3", rsv: 4 }],
  [{ text: "3", rsv: 1 }],
  [{ opcode: 3, hex: "00" }],
  [{ opcode: 11, hex: "" }],
  [{ opcode: 0, hex: "33" }],
  [{ opcode: 1, hex: "ff" }],
  [{ opcode: 1, hex: "34c3" }],
  [{ opcode: 9, hex: "61".repeat(125) }],
  [{ opcode: 9, hex: "" }],
  [{ opcode: 9, hex: "61".repeat(126) }],
  [{ opcode: 9, hex: "61", fin: false }],
  [{ opcode: 10, hex: "61" }],
  [{ opcode: 8, hex: "" }],
  [{ opcode: 8, hex: "03e8" }],
  [{ opcode: 8, hex: "03e9627965" }],
  [{ opcode: 8, hex: "0bb8" }],
  [{ opcode: 8, hex: "03" }],
  [{ opcode: 8, hex: "03ed" }],
  [{ opcode: 8, hex: "03e8ff" }],
  [{ opcode: 8, hex: "0001" }],
  [{ text: '42["ack', fin: false }, { opcode: 9, hex: "70" }, { opcode: 0, text: '",1]', fin: true }],
  [{ text: '42["echo', fin: false }, { opcode: 0, text: '",', fin: false }, { opcode: 0, text: "2]" }],
  [{ text: "3", fin: false }, { text: "3" }],
  [{ opcode: 1, text: "4".repeat(20_001) }],
  [{ opcode: 2, hex: "00".repeat(20_001) }],
  [{ text: "4".padEnd(20_000, "x") }],
  [{ text: "3", declared: 20_001 }],
  [{ text: "3", declared: 100_000 }],
  [{ text: "x".repeat(15_000), fin: false }, { opcode: 0, text: "x".repeat(15_000) }],
  [{ opcode: 2, hex: "" }],
];

const EIO = "EIO=4&transport=polling";
const engine = (method, query, more = {}) => ({ method, path: "/socket.io/", query, ...more });

/** Requests beside the protocol; `$sid` is the client's session. */
export const oddRequests = [
  ...["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"].map((method) => engine(method, `${EIO}&sid=$sid`)),
  ...["PUT", "POST", "HEAD", "OPTIONS"].map((method) => engine(method, EIO)),
  engine("OPTIONS", EIO, { headers: { Origin: "http://a.test", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-a, x-b" } }),
  engine("OPTIONS", EIO, { headers: { Origin: "http://b.test", "Access-Control-Request-Method": "POST" } }),
  engine("OPTIONS", `${EIO}&sid=$sid`, { headers: { Origin: "http://a.test", "Access-Control-Request-Method": "PUT" } }),
  engine("GET", "EIO=4&transport=abc", { headers: { Origin: "http://a.test" } }),
  engine("GET", "EIO=4&transport=abc"),
  engine("GET", "EIO=4"),
  engine("GET", ""),
  engine("GET", undefined),
  engine("GET", "EIO=4&transport=constructor"),
  engine("GET", "EIO=4&transport=__proto__&sid=$sid"),
  engine("GET", "EIO=4&transport=webtransport"),
  engine("GET", "EIO=4&transport=Polling"),
  engine("GET", "EIO=2&transport=polling&sid=$sid"),
  engine("GET", "transport=polling&sid=$sid"),
  engine("GET", "EIO=5&transport=polling&sid=$sid"),
  engine("GET", "EIO=04&transport=polling&sid=$sid"),
  engine("GET", `${EIO}&sid=AAAAAAAAAAAAAAAAAAAA`),
  engine("POST", `${EIO}&sid=AAAAAAAAAAAAAAAAAAAA`, { body: "3" }),
  engine("GET", `${EIO}&sid=`, { method: "PUT" }),
  engine("GET", `${EIO}&sid=%00%ff`),
  engine("GET", `${EIO}&sid=$sid&sid=no`),
  engine("GET", `${EIO}&sid=constructor`),
  engine("GET", "EIO=4&transport=websocket"),
  engine("GET", "EIO=4&transport=websocket&sid=$sid"),
  engine("POST", "EIO=4&transport=websocket&sid=$sid", { body: "3" }),
  { method: "GET", path: "/" },
  { method: "GET", path: "/socket.io", query: EIO },
  { method: "POST", path: "/elsewhere", body: "x" },
  { method: "GET", path: "/socket.io/nothing.js" },
  { method: "GET", path: "/socket.io/more/", query: "EIO=4&transport=abc" },
  { method: "GET", path: "/socket.iox/", query: EIO },
  { method: "GET", path: "//socket.io/", query: EIO },
  { method: "GET", path: "/SOCKET.IO/", query: EIO },
];

const GET = `GET /socket.io/?${EIO}`;
const ODD = "GET /socket.io/?EIO=4&transport=abc";
const SOCKET = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\n";
const KEY = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
const UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

/** Requests to the byte, some of them none; `pieces` are written one after the other. */
export const oddBytes = [
  // Fine, in their way.
  `${ODD} HTTP/1.1\r\nhOST: localhost\r\n\r\n`,
  `${ODD} HTTP/1.1\r\nHost: localhost\r\nX-Empty:\r\nX-Tab:\ta\t\r\n\r\n`,
  `\r\n${ODD} HTTP/1.1\r\nHost: localhost\r\n\r\n`,
  // WebSockets that are none.
  `${SOCKET}${UPGRADE}Sec-WebSocket-Version: 13\r\n\r\n`,
  `${SOCKET}${UPGRADE}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n`,
  `${SOCKET}${UPGRADE}${KEY}\r\n`,
  `${SOCKET}${UPGRADE}${KEY}Sec-WebSocket-Version: 12\r\n\r\n`,
  `${SOCKET.replace("transport=websocket", "transport=websocket&sid=AAAAAAAAAAAAAAAAAAAA")}${UPGRADE}${KEY}Sec-WebSocket-Version: 13\r\n\r\n`,
  `${SOCKET.replace("transport=websocket", "transport=abc")}${UPGRADE}${KEY}Sec-WebSocket-Version: 13\r\n\r\n`,
  // No HTTP.
  "NONSENSE\r\n\r\n",
  `${ODD} HTTP/1.1\r\nno colon\r\n\r\n`,
  `${ODD} HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n`,
  `${ODD} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx`,
  `${ODD} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  `${ODD} HTTP/9.9\r\nHost: localhost\r\n\r\n`,
  `${GET} HTTP/1.1\r\nHost: localhost\r\nX: ${"x".repeat(20_000)}\r\n\r\n`,
].map((piece) => ({ pieces: [piece] }));
