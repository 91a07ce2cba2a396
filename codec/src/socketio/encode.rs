//! [`Packet`](super::Packet) parts to text, appended to the caller's buffer without the Engine.IO `4` before them.
//!
//! The bytes are those of the JavaScript encoder: the namespace is left out when it is `/` and is always followed by
//! a comma otherwise, and the payload follows its header without a space.

use super::packet::PacketKind;
use crate::json_string::write_decimal;
pub use crate::json_string::write_json_string;

/// Appends everything that stands before the payload. `attachment_count` is written for binary kinds only.
pub fn encode_header(out: &mut Vec<u8>, kind: PacketKind, attachment_count: u32, namespace: &str, id: Option<u64>) {
    out.push(kind.digit());
    if kind.is_binary() {
        write_decimal(out, u64::from(attachment_count));
        out.push(b'-');
    }
    if namespace != "/" {
        out.extend_from_slice(namespace.as_bytes());
        out.push(b',');
    }
    if let Some(id) = id {
        write_decimal(out, id);
    }
}

/// How many bytes [`encode_header`] appends.
#[must_use]
pub fn header_len(kind: PacketKind, attachment_count: u32, namespace: &str, id: Option<u64>) -> usize {
    let attachments = if kind.is_binary() { decimal_len(u64::from(attachment_count)) + 1 } else { 0 };
    let namespace = if namespace == "/" { 0 } else { namespace.len() + 1 };
    1 + attachments + namespace + id.map_or(0, decimal_len)
}

const fn decimal_len(number: u64) -> usize {
    match number.checked_ilog10() {
        Some(log) => log as usize + 1,
        None => 1,
    }
}

/// Appends the answer to a CONNECT that was granted: `0/admin,{"sid":"..."}`. `sid` is the socket's own id.
pub fn connect_ok(out: &mut Vec<u8>, namespace: &str, sid: &str) {
    encode_header(out, PacketKind::Connect, 0, namespace, None);
    out.extend_from_slice(b"{\"sid\":");
    write_json_string(out, sid);
    out.push(b'}');
}

/// Appends the answer to a CONNECT that was refused: `4/admin,{"message":"...","data":...}`. `data` is raw JSON.
pub fn connect_error(out: &mut Vec<u8>, namespace: &str, message: &str, data: Option<&str>) {
    encode_header(out, PacketKind::ConnectError, 0, namespace, None);
    out.extend_from_slice(b"{\"message\":");
    write_json_string(out, message);
    if let Some(data) = data {
        out.extend_from_slice(b",\"data\":");
        out.extend_from_slice(data.as_bytes());
    }
    out.push(b'}');
}

/// Appends a DISCONNECT: `1/admin,`.
pub fn disconnect(out: &mut Vec<u8>, namespace: &str) {
    encode_header(out, PacketKind::Disconnect, 0, namespace, None);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn headers_are_those_of_the_official_encoder() {
        let header = |kind, count, namespace, id| text(|out| encode_header(out, kind, count, namespace, id));
        assert_eq!(header(PacketKind::Event, 0, "/", None), "2");
        assert_eq!(header(PacketKind::Event, 3, "/", Some(0)), "20");
        assert_eq!(header(PacketKind::Event, 0, "/admin", Some(456)), "2/admin,456");
        assert_eq!(header(PacketKind::BinaryEvent, 2, "/", None), "52-");
        assert_eq!(header(PacketKind::BinaryAck, 1, "/admin", Some(456)), "61-/admin,456");
    }

    #[test]
    fn answers_to_connect() {
        assert_eq!(text(|out| connect_ok(out, "/", "abc")), r#"0{"sid":"abc"}"#);
        assert_eq!(text(|out| connect_ok(out, "/admin", "abc")), r#"0/admin,{"sid":"abc"}"#);
        let refusal = text(|out| connect_error(out, "/x", "Invalid namespace", None));
        assert_eq!(refusal, r#"4/x,{"message":"Invalid namespace"}"#);
        let refusal = text(|out| connect_error(out, "/", "a \"b\"", Some(r#"{"code":1}"#)));
        assert_eq!(refusal, r#"4{"message":"a \"b\"","data":{"code":1}}"#);
    }

    #[test]
    fn disconnect_names_its_namespace() {
        assert_eq!(text(|out| disconnect(out, "/")), "1");
        assert_eq!(text(|out| disconnect(out, "/admin")), "1/admin,");
    }
}
