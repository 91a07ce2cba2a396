//! The header fields of a request, read out of its head on demand.
//!
//! The head was validated by httparse, and its lines end in CR LF, so a field is found by looking for a line's end
//! and a colon: no table of fields is kept, and a [`Headers`] is a slice.
//! Source: RFC 9112 section 5.

/// Header fields in the order in which they were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers<'a> {
    /// The field lines, each with its CR LF, without the empty line at the end.
    lines: &'a [u8],
}

impl<'a> Headers<'a> {
    /// The fields in `lines`, which a parser has validated.
    pub(super) const fn new(lines: &'a [u8]) -> Self {
        Self { lines }
    }

    /// All fields: name as sent, value without the white space around it.
    pub fn iter(&self) -> HeaderIter<'a> {
        HeaderIter { lines: Lines { rest: self.lines } }
    }

    /// The value of the first field of this name, in whatever case.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.get_all(name).next()
    }

    /// The values of all fields of this name, in whatever case.
    pub fn get_all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let lines = Lines { rest: self.lines };
        lines.filter_map(move |line| {
            // The colon stands right behind the name, so a line of another name is told by its length or few bytes.
            let (found, value) = line.split_at_checked(name.len())?;
            let value = value.strip_prefix(b":")?;
            found.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
        })
    }

    /// Whether a comma-separated list, over all fields of this name, has this token, in whatever case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.get_all(name).any(|value| has_token(value, token))
    }
}

impl<'a> IntoIterator for &Headers<'a> {
    type Item = (&'a str, &'a [u8]);
    type IntoIter = HeaderIter<'a>;

    fn into_iter(self) -> HeaderIter<'a> {
        self.iter()
    }
}

/// Iterator of [`Headers::iter`].
#[derive(Clone, Debug)]
pub struct HeaderIter<'a> {
    lines: Lines<'a>,
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.lines.next()?;
        let colon = memchr::memchr(b':', line)?;
        // Names are ASCII tokens: the parser made sure of it.
        let name = std::str::from_utf8(&line[..colon]).ok()?;
        Some((name, line[colon + 1..].trim_ascii()))
    }
}

/// The lines without their LF.
#[derive(Clone, Debug)]
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let end = memchr::memchr(b'\n', self.rest)?;
        let line = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Some(line)
    }
}

/// Whether a comma-separated list has this token, in whatever case.
pub(super) fn has_token(list: &[u8], token: &str) -> bool {
    list.split(|&byte| byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// A character of a token: RFC 9110 section 5.6.2.
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// Whether these bytes may be a header's value: tab, printable ASCII, and everything from 0x80.
///
/// The official server refuses a handshake whose `Origin` has any other character.
pub fn is_valid_header_value(value: &[u8]) -> bool {
    value.iter().all(|&byte| byte == b'\t' || (byte >= 0x20 && byte != 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &[u8] = b"Host: a\r\nX-One:1\r\nconnection:  keep-alive ,\tUpgrade \r\nx-one: 2\r\nEmpty:\r\n";

    #[test]
    fn fields_come_in_order_without_white_space_around_them() {
        let fields: Vec<_> = Headers::new(LINES).iter().collect();
        let expected: [(&str, &[u8]); 5] = [
            ("Host", b"a"),
            ("X-One", b"1"),
            ("connection", b"keep-alive ,\tUpgrade"),
            ("x-one", b"2"),
            ("Empty", b""),
        ];
        assert_eq!(fields, expected);
        assert_eq!(Headers::new(b"").iter().next(), None);
    }

    #[test]
    fn names_are_found_in_any_case_and_the_first_one_counts() {
        let headers = Headers::new(LINES);
        assert_eq!(headers.get("HOST"), Some(b"a".as_slice()));
        assert_eq!(headers.get("X-ONE"), Some(b"1".as_slice()));
        assert_eq!(headers.get("empty"), Some(b"".as_slice()));
        assert_eq!(headers.get("hos"), None);
        assert_eq!(headers.get_all("x-one").collect::<Vec<_>>(), [b"1", b"2"]);
    }

    #[test]
    fn tokens_are_found_in_lists() {
        let headers = Headers::new(LINES);
        assert!(headers.has_token("Connection", "upgrade"));
        assert!(headers.has_token("Connection", "KEEP-ALIVE"));
        assert!(!headers.has_token("Connection", "keep"));
        assert!(headers.has_token("x-one", "2"));
        assert!(!headers.has_token("absent", ""));
    }

    #[test]
    fn header_values_have_no_control_characters() {
        assert!(is_valid_header_value(b""));
        assert!(is_valid_header_value(b"http://a.com\t \x80\xff~"));
        for byte in (0..0x20).filter(|&byte| byte != b'\t').chain([0x7f]) {
            assert!(!is_valid_header_value(&[b'a', byte]), "{byte:#x}");
        }
    }
}
