//! Packets to MessagePack, byte for byte as the official server's msgpack parser writes them.
//!
//! ```text
//! emit         type data [id] nsp          ack          id type data nsp
//! broadcast    type data nsp [id]          the rest     type [data] nsp, but `Invalid namespace`: type nsp data
//! ```
//!
//! The order of the keys means nothing to a decoder; it is that in which the official server happens to build each kind
//! of packet, so that both can be compared byte by byte. Each function appends one whole binary message.

use super::from_json::{from_json, write_text, written};
use crate::socketio::attachment::AttachmentError;
use crate::socketio::packet::PacketKind;
use rmp::encode;

/// What notepack.io writes for `undefined`.
const UNDEFINED: [u8; 3] = [0xd4, 0x00, 0x00];

/// A packet without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketHead<'a> {
    /// Its type; a binary kind is written as the kind without.
    pub kind: PacketKind,
    /// The namespace, with its `/`.
    pub namespace: &'a str,
    /// The ack id.
    pub id: Option<u64>,
    /// Whether an event goes to several sockets: its id is the last key then.
    pub is_broadcast: bool,
}

impl PacketHead<'_> {
    /// Where the id stands: before everything, before the namespace, or after it.
    fn id_place(&self) -> IdPlace {
        match (self.id, self.kind) {
            (None, _) => IdPlace::Nowhere,
            (Some(_), PacketKind::Ack | PacketKind::BinaryAck) => IdPlace::First,
            (Some(_), _) if self.is_broadcast => IdPlace::Last,
            (Some(_), _) => IdPlace::BeforeNamespace,
        }
    }

    /// Everything before the data's value.
    fn begin(&self, out: &mut Vec<u8>, has_data: bool) {
        let pair_count = 2 + u32::from(has_data) + u32::from(self.id.is_some());
        written(encode::write_map_len(out, pair_count));
        if self.id_place() == IdPlace::First {
            self.write_id(out);
        }
        write_text(out, "type");
        out.push(match self.kind {
            PacketKind::BinaryEvent => PacketKind::Event as u8,
            PacketKind::BinaryAck => PacketKind::Ack as u8,
            kind => kind as u8,
        });
        if has_data {
            write_text(out, "data");
        }
    }

    /// Everything after the data.
    fn end(&self, out: &mut Vec<u8>) {
        if self.id_place() == IdPlace::BeforeNamespace {
            self.write_id(out);
        }
        write_namespace(out, self.namespace);
        if self.id_place() == IdPlace::Last {
            self.write_id(out);
        }
    }

    fn write_id(&self, out: &mut Vec<u8>) {
        if let Some(id) = self.id {
            write_text(out, "id");
            written(encode::write_uint(out, id));
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum IdPlace {
    Nowhere,
    First,
    BeforeNamespace,
    Last,
}

fn write_namespace(out: &mut Vec<u8>, namespace: &str) {
    write_text(out, "nsp");
    write_text(out, namespace);
}

/// Appends a packet whose data, one value, is MessagePack already; `None` is a packet without data.
pub fn encode_raw(out: &mut Vec<u8>, head: &PacketHead<'_>, data: Option<&[u8]>) {
    head.begin(out, data.is_some());
    out.extend_from_slice(data.unwrap_or_default());
    head.end(out);
}

/// Appends a packet whose data is one value of JSON, such as `["name",1]`, with its attachments.
///
/// Errors: those of [`from_json`], and [`AttachmentError::InvalidJson`] unless it is exactly one value. Nothing is
/// appended then.
pub fn encode_json<A: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    head: &PacketHead<'_>,
    data: &str,
    attachments: &[A],
) -> Result<(), AttachmentError> {
    let start = out.len();
    head.begin(out, true);
    let result = write_one(out, data, attachments);
    match result {
        Ok(()) => head.end(out),
        Err(_) => out.truncate(start),
    }
    result
}

fn write_one<A: AsRef<[u8]>>(out: &mut Vec<u8>, json: &str, attachments: &[A]) -> Result<(), AttachmentError> {
    match from_json(json, attachments, out)? {
        1 => Ok(()),
        _ => Err(AttachmentError::InvalidJson),
    }
}

/// Appends the answer to a CONNECT that was granted. `pid` is the private id of connection state recovery; without
/// one, `undefined` is written for it.
pub fn connect_ok(out: &mut Vec<u8>, namespace: &str, sid: &str, pid: Option<&str>) {
    let head = PacketHead { kind: PacketKind::Connect, namespace, id: None, is_broadcast: false };
    head.begin(out, true);
    written(encode::write_map_len(out, 2));
    write_text(out, "sid");
    write_text(out, sid);
    write_text(out, "pid");
    match pid {
        Some(pid) => write_text(out, pid),
        None => out.extend_from_slice(&UNDEFINED),
    }
    head.end(out);
}

/// Appends the answer to a CONNECT that a middleware refused. `data` is one value of JSON; without one, `undefined` is
/// written for it.
///
/// Errors: [`AttachmentError::InvalidJson`] if `data` is none. Nothing is appended then.
pub fn connect_error(
    out: &mut Vec<u8>,
    namespace: &str,
    message: &str,
    data: Option<&str>,
) -> Result<(), AttachmentError> {
    let start = out.len();
    let head = PacketHead { kind: PacketKind::ConnectError, namespace, id: None, is_broadcast: false };
    head.begin(out, true);
    written(encode::write_map_len(out, 2));
    write_text(out, "message");
    write_text(out, message);
    write_text(out, "data");
    let result = match data {
        Some(data) => write_one::<&[u8]>(out, data, &[]),
        None => {
            out.extend_from_slice(&UNDEFINED);
            Ok(())
        }
    };
    match result {
        Ok(()) => head.end(out),
        Err(_) => out.truncate(start),
    }
    result
}

/// Appends the answer to a CONNECT to a namespace that there is not; Node's message is `Invalid namespace`.
pub fn unknown_namespace(out: &mut Vec<u8>, namespace: &str, message: &str) {
    written(encode::write_map_len(out, 3));
    write_text(out, "type");
    out.push(PacketKind::ConnectError as u8);
    write_namespace(out, namespace);
    write_text(out, "data");
    written(encode::write_map_len(out, 1));
    write_text(out, "message");
    write_text(out, message);
}

/// Appends a DISCONNECT.
pub fn disconnect(out: &mut Vec<u8>, namespace: &str) {
    let head = PacketHead { kind: PacketKind::Disconnect, namespace, id: None, is_broadcast: false };
    encode_raw(out, &head, None);
}
