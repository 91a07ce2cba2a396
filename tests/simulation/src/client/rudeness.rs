//! What a client should not do.

use super::Client;
use super::packets::Outgoing;
use crate::trace::note;

/// Packets that break a rule of Engine.IO or Socket.IO, each in its way.
const BAD_PACKETS: [&str; 14] = [
    "x",
    "0",
    "2",
    "6",
    "4",
    "49",
    "42",
    "42[",
    "42[\"u\",1",
    "4299999999999999999999[\"u\"]",
    "451-[\"u\",{}]",
    "45999-[\"u\"]",
    "42/nowhere,[\"u\",0]",
    "40",
];

/// Beginnings of requests, some of them good.
const BAD_HEADS: [&str; 9] = [
    "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost:",
    "POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
    "GET /socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAB HTTP/1.1\r\n\r\n",
    "GET /socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA HTTP/1.1\r\n\r\n",
    "GET /socket.io/?EIO=3&transport=polling HTTP/1.1\r\n\r\n",
    "GET /elsewhere HTTP/1.1\r\n\r\nGET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n\r\n",
    "\0\0\0\0",
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "",
];

impl Client {
    /// Connects and sends something that opens no session, or only half of it.
    pub(super) fn knock_rudely(&mut self) {
        let now = self.now();
        let wire = self.connect();
        let head = *self.chance.pick(&BAD_HEADS);
        note!("client {}: knocks with {head:?}", self.number);
        self.write(wire, head.as_bytes());
        match self.chance.below(3) {
            0 => self.kernel.borrow_mut().network.client_close(now, wire),
            1 => self.kernel.borrow_mut().network.client_reset(now, wire),
            _ => {} // Stays, says nothing more, reads nothing.
        }
    }

    pub(super) fn be_rude(&mut self) {
        match self.chance.below(6) {
            0 => {
                note!("client {}: two GETs at a time", self.number);
                let sid = self.transport.as_ref().map(|transport| transport.sid.clone()).unwrap_or_default();
                let wire = self.connect();
                let head = self.head("GET", &format!("&transport=polling&sid={sid}"), "");
                self.write(wire, head.as_bytes());
            }
            1 => {
                let packet = *self.chance.pick(&BAD_PACKETS);
                note!("client {}: sends {packet:?}", self.number);
                self.packets.outgoing.push(Outgoing::Text(packet.to_owned()));
            }
            2 => self.packets.outgoing.push(Outgoing::Binary(vec![1, 2, 3])),
            3 => {
                note!("client {}: sends bytes of chance", self.number);
                let bytes: Vec<u8> = (0..1 + self.chance.below(40)).map(|_| self.chance.bits() as u8).collect();
                let wire = self.transport.as_ref().and_then(|transport| transport.wires().last());
                if let Some(wire) = wire {
                    self.write(wire, &bytes);
                    self.packets.has_sent_chance = true;
                    for sid in self.packets.connected_sids() {
                        self.common.oracle.borrow_mut().may_be_swallowed(sid);
                    }
                }
            }
            4 => {
                note!("client {}: floods", self.number);
                for _ in 0..20 {
                    self.packets.outgoing.push(Outgoing::Text("42[\"flood\",0]".to_owned()));
                    self.frame(0x89, b"ping");
                }
            }
            _ => self.cut_off(),
        }
    }
}
