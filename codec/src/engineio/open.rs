//! The server's first packet, which tells the client its session and the rules.
//!
//! Clients parse it as JSON, so the order of the keys is free; it is the official server's all the same, so that
//! bytes can be compared.

use super::packet::PacketKind;
use crate::json_string::{write_decimal, write_json_string};

/// The handshake's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open<'a> {
    /// The session's id.
    pub sid: &'a str,
    /// The transports that the client may move to, such as `websocket`. Empty on a WebSocket.
    pub upgrades: &'a [&'a str],
    /// How often the server pings. Milliseconds.
    pub ping_interval_ms: u64,
    /// How long the server waits for a pong. Milliseconds.
    pub ping_timeout_ms: u64,
    /// The greatest message, and the greatest polling body, that the server accepts. Bytes.
    pub payload_bytes_max: u64,
}

impl Open<'_> {
    /// Appends the packet: `0{"sid":...,"upgrades":[...],"pingInterval":...,"pingTimeout":...,"maxPayload":...}`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(PacketKind::Open.digit());
        out.extend_from_slice(b"{\"sid\":");
        write_json_string(out, self.sid);
        out.extend_from_slice(b",\"upgrades\":[");
        for (index, upgrade) in self.upgrades.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_json_string(out, upgrade);
        }
        out.extend_from_slice(b"],\"pingInterval\":");
        write_decimal(out, self.ping_interval_ms);
        out.extend_from_slice(b",\"pingTimeout\":");
        write_decimal(out, self.ping_timeout_ms);
        out.extend_from_slice(b",\"maxPayload\":");
        write_decimal(out, self.payload_bytes_max);
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn encode(upgrades: &[&str]) -> String {
        let open = Open {
            sid: "oNbWXoU2gayC-8CVAAAA",
            upgrades,
            ping_interval_ms: 25_000,
            ping_timeout_ms: 20_000,
            payload_bytes_max: 1_000_000,
        };
        let mut out = Vec::new();
        open.encode(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn bytes_are_those_of_the_official_server() {
        assert_eq!(
            encode(&["websocket"]),
            "0{\"sid\":\"oNbWXoU2gayC-8CVAAAA\",\"upgrades\":[\"websocket\"],\"pingInterval\":25000,\
             \"pingTimeout\":20000,\"maxPayload\":1000000}"
        );
        assert!(encode(&[]).contains("\"upgrades\":[],"));
        assert!(encode(&["websocket", "webtransport"]).contains("[\"websocket\",\"webtransport\"]"));
    }
}
