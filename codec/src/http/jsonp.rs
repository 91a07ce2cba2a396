//! JSONP polling: payloads as a script, for browsers so old that they can load nothing else from another origin.
//!
//! ```text
//! answer to a GET     ___eio[0]("<payload as a JavaScript string>");
//! body of a POST      d=<payload, its line breaks as \n, form-encoded>
//! ```
//!
//! Only clients of revision 3 do it; the payload is the one of any other polling body. What is decoded is what
//! engine.io 6.6.12 decodes. Source: its transport; ECMAScript section 12.9.4 (which line ends a string cannot hold).

use super::query;
use crate::json_string::write_json_string;

/// `Content-Type` of the answer to a GET, as the official server writes it: not that of a script.
pub const CONTENT_TYPE: &str = "text/plain; charset=UTF-8";

/// How many form fields are looked at; what follows is not (Node's `querystring` has the same bound).
const FIELD_COUNT_MAX: usize = 1000;

/// Appends the script that hands `payload` to the client. `index` is the request's `j`: of it only the digits are
/// written, so that a request cannot put code of its own into the script.
pub fn write_body(out: &mut Vec<u8>, index: &str, payload: &str) {
    out.extend_from_slice(b"___eio[");
    out.extend(index.bytes().filter(u8::is_ascii_digit));
    out.extend_from_slice(b"](");
    let start = out.len();
    write_json_string(out, payload);
    escape_line_separators(out, start);
    out.extend_from_slice(b");");
}

/// U+2028 and U+2029 may stand in JSON, but ended a line, and with it the string, in JavaScript before 2019.
fn escape_line_separators(out: &mut Vec<u8>, start: usize) {
    let separator_at = |bytes: &[u8]| {
        memchr::memmem::find_iter(bytes, b"\xe2\x80").find(|&at| matches!(bytes.get(at + 2), Some(0xa8 | 0xa9)))
    };
    let Some(first) = separator_at(&out[start..]) else { return };
    let unescaped = out.split_off(start + first);
    let mut rest = unescaped.as_slice();
    while let Some(at) = separator_at(rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(if rest[at + 2] == 0xa8 { b"\\u2028" } else { b"\\u2029" });
        rest = &rest[at + 3..];
    }
    out.extend_from_slice(rest);
}

/// The payload in a POST's body: its field `d`. `None` if there is none or there are several, which is no error: such
/// a request carries no packets.
///
/// Clients write a line break as `\n`, because forms change line breaks, and a backslash before an `n` as two.
/// Bytes that are not UTF-8 become U+FFFD. Cost: one pass, one or two copies.
pub fn decode_body(body: &[u8]) -> Option<String> {
    let body = String::from_utf8_lossy(body);
    let mut payloads =
        query::pairs(&body).take(FIELD_COUNT_MAX).filter(|(name, _)| name == "d").map(|(_, value)| value);
    let payload = payloads.next()?;
    if payloads.next().is_some() {
        return None;
    }
    Some(unescape_line_breaks(&payload))
}

/// `\n` to a line break, `\\n` to `\n`; of more backslashes before an `n`, one goes too.
fn unescape_line_breaks(payload: &str) -> String {
    let mut text = String::with_capacity(payload.len());
    let mut rest = payload;
    while let Some(at) = rest.find("\\n") {
        // Found is the last backslash of its run: the `n` follows it.
        if rest[..at].ends_with('\\') {
            text.push_str(&rest[..at]);
            text.push('n');
        } else {
            text.push_str(&rest[..at]);
            text.push('\n');
        }
        rest = &rest[at + 2..];
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn body(index: &str, payload: &str) -> String {
        let mut out = b"before".to_vec();
        write_body(&mut out, index, payload);
        String::from_utf8(out.split_off(6)).unwrap()
    }

    #[test]
    fn script_is_that_of_the_official_server() {
        assert_eq!(body("7", "0{\"sid\":\"a\"}"), "___eio[7](\"0{\\\"sid\\\":\\\"a\\\"}\");");
        assert_eq!(body("", ""), "___eio[](\"\");");
        assert_eq!(
            body("1", "\u{2028}a\u{2029}\u{2027}\u{202a}\n\u{1f600}"),
            "___eio[1](\"\\u2028a\\u2029\u{2027}\u{202a}\\n\u{1f600}\");"
        );
    }

    #[test]
    fn index_cannot_be_code() {
        assert_eq!(body("1](alert(2));//\u{662}", "6"), "___eio[12](\"6\");");
    }

    /// Each right side is what engine.io 6.6.12 gave to its parser for the left side, in Node 20.
    #[test]
    fn posts_are_read_as_by_the_official_server() {
        let cases: [(&[u8], Option<&str>); 18] = [
            (b"d=4hello", Some("4hello")),
            (b"d=11%3A42%5B%22a%22%5D+b", Some("11:42[\"a\"] b")),
            (b"d=", Some("")),
            (b"d", Some("")),
            (b"", None),
            (b"e=1", None),
            (b"d=1&d=2", None),
            (b"a=1&d=2&b=3", Some("2")),
            (b"%64=1", Some("1")),
            (b"d=a%5Cnb", Some("a\nb")),
            (b"d=a%5C%5Cnb", Some("a\\nb")),
            (b"d=a%5C%5C%5Cnb", Some("a\\\\nb")),
            (b"d=a%5C%5C%5C%5Cnb", Some("a\\\\\\nb")),
            (b"d=%5Cn%5Cn%5C%5Cn%5C", Some("\n\n\\n\\")),
            (b"d=n%5C%5C", Some("n\\\\")),
            (b"d=%E2%82%AC%ff", Some("\u{20ac}\u{fffd}")),
            (b"d=%zz%", Some("%zz%")),
            (b"d=\xe9", Some("\u{fffd}")),
        ];
        for (body, payload) in cases {
            assert_eq!(decode_body(body).as_deref(), payload, "{}", body.escape_ascii());
        }
    }

    #[test]
    fn fields_are_looked_at_up_to_a_bound() {
        let early = format!("{}d=1", "a&".repeat(FIELD_COUNT_MAX - 1));
        assert_eq!(decode_body(early.as_bytes()).as_deref(), Some("1"));
        let late = format!("{}d=1", "a&".repeat(FIELD_COUNT_MAX));
        assert_eq!(decode_body(late.as_bytes()), None);
    }

    proptest! {
        /// What a client makes of a payload: line breaks and backslashes escaped, then form-encoded. A backslash is
        /// followed by an `n` here: before a line break, clients themselves cannot keep it apart.
        #[test]
        fn what_a_client_sends_is_decoded(
            pieces in prop::collection::vec(
                prop::sample::select(vec!["a", "n", "\\n", "\n", "\u{e9}", " ", "+", "%", "&", "=", "\""]),
                0..20,
            ),
        ) {
            let payload = pieces.concat();
            let escaped = payload.replace("\\n", "\\\\n").replace('\n', "\\n");
            let form: String = escaped.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let decoded = decode_body(format!("d={form}").as_bytes());
            prop_assert_eq!(decoded, Some(payload));
        }

        /// A script's string literal is JSON, but for the two line separators.
        #[test]
        fn the_script_holds_the_payload(payload in any::<String>()) {
            let body = body("0", &payload);
            let ends_a_line = body.contains(['\u{2028}', '\u{2029}', '\n', '\r']);
            prop_assert!(!ends_a_line);
            let literal = body.strip_prefix("___eio[0](").unwrap().strip_suffix(");").unwrap();
            prop_assert_eq!(serde_json::from_str::<String>(literal).unwrap(), payload);
        }

        #[test]
        fn nothing_panics(body in prop::collection::vec(any::<u8>(), 0..50)) {
            let _ = decode_body(&body);
        }
    }
}
