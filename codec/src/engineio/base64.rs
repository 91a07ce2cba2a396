//! Base64 as the official server reads it: leniently.
//!
//! Both alphabets (`+/` and `-_`) may be mixed, padding may be missing, the first `=` ends the text, anything else that
//! is not of the alphabet is skipped, and a last character that makes no byte is dropped. Nothing is ever an error.
//! That is Node's `Buffer.from(text, "base64")`, seen by running it (20.20.2); characters beyond U+00FF are the one
//! difference, which Node cuts to their low byte first and this decoder skips.
//! Writing is the standard alphabet with padding. Source: RFC 4648 section 4.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Decodes `text`. At most `text.len() / 4 * 3 + 2` bytes.
///
/// Cost: one pass if the text is regular (what clients send), a second one with the lenient rules if not.
pub fn decode(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap_or_else(|_| decode_lenient(text.as_bytes()))
}

fn decode_lenient(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let mut bits = 0u32;
    let mut bit_count = 0;
    for &character in text.iter().take_while(|&&character| character != b'=') {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        bit_count += 6;
        if bit_count >= 8 {
            bit_count -= 8;
            bytes.push((bits >> bit_count) as u8);
        }
    }
    bytes
}

/// Appends the base64 text of `bytes`, padded.
pub fn encode(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // Cannot fail: the room was made to measure on the line before.
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Each right side is what Node printed for the left side.
    #[test]
    fn odd_texts_decode_as_in_node() {
        let cases: [(&str, &[u8]); 17] = [
            ("", b""),
            ("YQ==YQ==", b"a"),
            ("YWI=YWI=", b"ab"),
            ("YW I", b"ab"),
            ("Y!W@I", b"ab"),
            ("YQ=", b"a"),
            ("Y", b""),
            ("YQ", b"a"),
            ("YWJ", b"ab"),
            ("-_-_", &[0xfb, 0xff, 0xbf]),
            ("=YWJj", b""),
            ("YW\u{e9}Jj", b"abc"),
            ("YWJj====", b"abc"),
            ("YWJjYQ=x", b"abca"),
            ("YQ==\n", b"a"),
            ("YWJjZ", b"abc"),
            ("YWJjYW=J", b"abca"),
        ];
        for (text, bytes) in cases {
            assert_eq!(decode(text), bytes, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut out = b"prefix".to_vec();
            encode(&mut out, &bytes);
            let text = std::str::from_utf8(&out[6..]).unwrap_or_default();
            prop_assert_eq!(text.len(), bytes.len().div_ceil(3) * 4);
            prop_assert_eq!(decode(text), &bytes[..]);
            prop_assert_eq!(decode_lenient(text.as_bytes()), &bytes[..]);
        }

        #[test]
        fn other_alphabet_missing_padding_and_noise_change_nothing(
            bytes in prop::collection::vec(any::<u8>(), 0..100),
            noise in "[ \n!.~\u{e9}]{1,3}",
        ) {
            let mut out = Vec::new();
            encode(&mut out, &bytes);
            let text = String::from_utf8(out).unwrap_or_default();
            let text: String = text
                .trim_end_matches('=')
                .chars()
                .flat_map(|character| {
                    let character = match character { '+' => '-', '/' => '_', other => other };
                    noise.chars().chain([character])
                })
                .collect();
            prop_assert_eq!(decode(&text), &bytes[..]);
        }
    }
}
