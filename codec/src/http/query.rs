//! Query strings, and the parameters in them that Engine.IO gives a meaning.
//!
//! Decoded as browsers and Node decode them (URL Standard, `application/x-www-form-urlencoded`): pairs between `&`,
//! split at the first `=`, `+` is a space, `%xx` is a byte, a `%` without two hexadecimal digits stays as it is, bytes
//! that are not UTF-8 become U+FFFD. Nothing is ever an error.

use std::borrow::Cow;

/// The pairs of a raw query string (what stands after `?`), in order, decoded. Pairs without `=` have an empty value.
///
/// Cost: one pass; only names and values with `+` or `%` are copied.
pub fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

/// The value of the last pair of this name.
pub fn value<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    pairs(query).filter(|(found, _)| found == name).map(|(_, value)| value).last()
}

/// What an Engine.IO request says in its query. A parameter given twice counts the last time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineQuery<'a> {
    /// `EIO`: 4 if it is exactly `4`, else 3, absence included.
    pub protocol: u8,
    /// `transport`; empty if absent. Whether there is such a transport is not checked here.
    pub transport: Cow<'a, str>,
    /// `sid`, the session that is meant; `None` also if it is empty.
    pub sid: Option<Cow<'a, str>>,
    /// `b64` with any value but the empty one: no binary bodies. Matters for protocol 3 only.
    pub base64: bool,
    /// `j`, the index of the JSONP callback, as sent; present even if empty.
    pub jsonp: Option<Cow<'a, str>>,
}

impl<'a> EngineQuery<'a> {
    /// Reads the parameters out of a raw query string. Never fails; unknown parameters are passed over.
    pub fn decode(query: &'a str) -> Self {
        let mut decoded = Self { protocol: 3, transport: Cow::Borrowed(""), sid: None, base64: false, jsonp: None };
        for (name, value) in pairs(query) {
            match &*name {
                "EIO" => decoded.protocol = if value == "4" { 4 } else { 3 },
                "transport" => decoded.transport = value,
                "sid" => decoded.sid = if value.is_empty() { None } else { Some(value) },
                "b64" => decoded.base64 = !value.is_empty(),
                "j" => decoded.jsonp = Some(value),
                _ => {}
            }
        }
        decoded
    }
}

/// Decodes one name or value.
fn decode(raw: &str) -> Cow<'_, str> {
    let bytes = raw.as_bytes();
    if memchr::memchr2(b'+', b'%', bytes).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        index += 1;
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => match bytes.get(index..index + 2).and_then(hex_byte) {
                Some(byte) => {
                    index += 2;
                    byte
                }
                None => b'%',
            },
            byte => byte,
        });
    }
    match String::from_utf8(decoded) {
        Ok(text) => Cow::Owned(text),
        Err(error) => Cow::Owned(String::from_utf8_lossy(error.as_bytes()).into_owned()),
    }
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let &[high, low] = digits else { return None };
    let high = char::from(high).to_digit(16)?;
    let low = char::from(low).to_digit(16)?;
    Some((high << 4 | low) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(query: &str) -> Vec<(String, String)> {
        pairs(query).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn pairs_are_split_and_decoded_as_in_a_browser() {
        assert_eq!(all(""), []);
        assert_eq!(all("&&"), []);
        assert_eq!(all("a"), owned(&[("a", "")]));
        assert_eq!(all("=b&a=&=="), owned(&[("", "b"), ("a", ""), ("", "=")]));
        assert_eq!(all("a=b=c&a=2"), owned(&[("a", "b=c"), ("a", "2")]));
        assert_eq!(all("a+b=c+d%2B%20"), owned(&[("a b", "c d+ ")]));
        assert_eq!(all("%61=%e2%82%AC"), owned(&[("a", "\u{20ac}")]));
        assert_eq!(all("a=%&b=%4&c=%4g&d=%%41"), owned(&[("a", "%"), ("b", "%4"), ("c", "%4g"), ("d", "%A")]));
        assert_eq!(all("a=%ff%41"), owned(&[("a", "\u{fffd}A")]));
    }

    #[test]
    fn plain_values_are_borrowed() {
        assert!(pairs("a=b").all(|(name, value)| matches!((name, value), (Cow::Borrowed(_), Cow::Borrowed(_)))));
    }

    #[test]
    fn last_value_of_a_name_is_found() {
        assert_eq!(value("a=1&b=2&a=3", "a").as_deref(), Some("3"));
        assert_eq!(value("a=1", "b"), None);
    }

    #[test]
    fn engine_parameters() {
        let query = EngineQuery::decode("EIO=4&transport=polling&t=abc&sid=x%2Dy&j=0&b64=1");
        assert_eq!(query.protocol, 4);
        assert_eq!(query.transport, "polling");
        assert_eq!(query.sid.as_deref(), Some("x-y"));
        assert_eq!(query.jsonp.as_deref(), Some("0"));
        assert!(query.base64);
    }

    #[test]
    fn absence_has_a_meaning() {
        let query = EngineQuery::decode("sid=&b64=&j=");
        assert_eq!((query.protocol, &*query.transport, query.sid, query.base64), (3, "", None, false));
        assert_eq!(query.jsonp.as_deref(), Some(""));
    }

    #[test]
    fn protocol_is_4_only_if_it_says_exactly_4() {
        for (query, protocol) in [
            ("EIO=4", 4),
            ("EIO=%34", 4),
            ("EIO=3&EIO=4", 4),
            ("EIO=4&EIO=3", 3),
            ("EIO=04", 3),
            ("EIO=4+", 3),
            ("EIO=abc", 3),
            ("EIO", 3),
            ("eio=4", 3),
        ] {
            assert_eq!(EngineQuery::decode(query).protocol, protocol, "{query}");
        }
    }

    proptest! {
        #[test]
        fn encoded_values_come_back(value in any::<String>()) {
            let encoded: String = value.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let query = format!("k={encoded}");
            let decoded = super::value(&query, "k");
            prop_assert_eq!(decoded.as_deref(), Some(&*value));
        }

        #[test]
        fn nothing_panics(query in any::<String>()) {
            let _ = EngineQuery::decode(&query);
        }
    }
}
