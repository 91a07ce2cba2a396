//! `Set-Cookie`: the cookie that names a session to load balancers.
//!
//! ```text
//! io=<sid>; Max-Age=3600; Domain=a.com; Path=/; Expires=<date>; HttpOnly; Secure; Partitioned; Priority=High; SameSite=Lax
//! ```
//!
//! Attributes, their order and what is refused are those of the npm package `cookie` 0.7.2, which the official server
//! hands its option `cookie` to; the defaults are the server's own. The value is percent-encoded as JavaScript's
//! `encodeURIComponent` does. Source: RFC 6265 section 4.1; SameSite, Partitioned and Priority from its drafts.

use super::header::is_token_byte;
use crate::calendar::write_http_date;
use crate::json_string::write_decimal;
use core::fmt;

/// When a cookie goes with requests that begin on other sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Never.
    Strict,
    /// When the user follows a link.
    Lax,
    /// Always. Browsers want [`Cookie::secure`] with it.
    None,
}

/// Which cookies a browser drops first. Chromium's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookiePriority {
    /// First.
    Low,
    /// As without it.
    Medium,
    /// Last.
    High,
}

/// A cookie without its value. The default is that of engine.io's `cookie: true`: `io`, `Path=/`, HttpOnly, SameSite=Lax.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// Its name: one or more token characters (RFC 9110 section 5.6.2). Default `io`.
    pub name: String,
    /// Default `/`; `None` leaves the attribute out.
    pub path: Option<String>,
    /// Out of reach for scripts. Default `true`.
    pub http_only: bool,
    /// Default [`SameSite::Lax`]; `None` leaves the attribute out.
    pub same_site: Option<SameSite>,
    /// How long it lives. Seconds, default `None`: until the browser closes. 0 or less removes it.
    pub max_age_seconds: Option<i64>,
    /// The domain that gets it, all below included. Default `None`: this host only.
    pub domain: Option<String>,
    /// Over TLS only. Default `false`.
    pub secure: bool,
    /// When it ends. Seconds since 1970, before the year 10000; default `None`. `Max-Age` counts more.
    pub expires_unix_seconds: Option<u64>,
    /// Kept apart for each site that embeds this one. Default `false`.
    pub partitioned: bool,
    /// Default `None`.
    pub priority: Option<CookiePriority>,
}

impl Default for Cookie {
    fn default() -> Self {
        Self {
            name: "io".to_owned(),
            path: Some("/".to_owned()),
            http_only: true,
            same_site: Some(SameSite::Lax),
            max_age_seconds: None,
            domain: None,
            secure: false,
            expires_unix_seconds: None,
            partitioned: false,
            priority: None,
        }
    }
}

/// Why a cookie cannot be written: an operator's mistake, which names the option to mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieError {
    /// The name is empty or has a character that no token has.
    InvalidName,
    /// The domain is none.
    InvalidDomain,
    /// The path has a character outside printable ASCII, or one of `;` and `<`.
    InvalidPath,
    /// The end lies beyond the year 9999.
    InvalidExpires,
}

impl fmt::Display for CookieError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidName => "cookie name is not one or more token characters",
            Self::InvalidDomain => "cookie domain is not a domain name",
            Self::InvalidPath => "cookie path has a character other than printable ASCII without ; and <",
            Self::InvalidExpires => "cookie expires after the year 9999",
        })
    }
}

impl core::error::Error for CookieError {}

/// The last second of the year 9999.
const EXPIRES_UNIX_SECONDS_MAX: u64 = 253_402_300_799;

impl Cookie {
    /// Whether the cookie can be written; to be asked once, where the option is read.
    pub fn check(&self) -> Result<(), CookieError> {
        if self.name.is_empty() || !self.name.bytes().all(is_token_byte) {
            return Err(CookieError::InvalidName);
        }
        if self.domain.as_deref().is_some_and(|domain| !is_domain(domain)) {
            return Err(CookieError::InvalidDomain);
        }
        let is_path_byte = |byte: u8| matches!(byte, b' '..=b':' | b'='..=b'~');
        if self.path.as_deref().is_some_and(|path| !path.bytes().all(is_path_byte)) {
            return Err(CookieError::InvalidPath);
        }
        if self.expires_unix_seconds.is_some_and(|seconds| seconds > EXPIRES_UNIX_SECONDS_MAX) {
            return Err(CookieError::InvalidExpires);
        }
        Ok(())
    }

    /// The value of `Set-Cookie` for this cookie with this value, which may be any text.
    pub fn serialize(&self, value: &str) -> Result<String, CookieError> {
        self.check()?;
        let mut out = Vec::with_capacity(64 + value.len());
        out.extend_from_slice(self.name.as_bytes());
        out.push(b'=');
        write_percent_encoded(&mut out, value);
        if let Some(seconds) = self.max_age_seconds {
            out.extend_from_slice(b"; Max-Age=");
            if seconds < 0 {
                out.push(b'-');
            }
            write_decimal(&mut out, seconds.unsigned_abs());
        }
        // An empty domain or path is one that is not given, as in Node.
        for (attribute, text) in [("; Domain=", &self.domain), ("; Path=", &self.path)] {
            if let Some(text) = text.as_deref().filter(|text| !text.is_empty()) {
                out.extend_from_slice(attribute.as_bytes());
                out.extend_from_slice(text.as_bytes());
            }
        }
        if let Some(seconds) = self.expires_unix_seconds {
            out.extend_from_slice(b"; Expires=");
            write_http_date(&mut out, seconds);
        }
        for (attribute, is_set) in
            [("; HttpOnly", self.http_only), ("; Secure", self.secure), ("; Partitioned", self.partitioned)]
        {
            if is_set {
                out.extend_from_slice(attribute.as_bytes());
            }
        }
        out.extend_from_slice(match self.priority {
            Some(CookiePriority::Low) => b"; Priority=Low",
            Some(CookiePriority::Medium) => b"; Priority=Medium",
            Some(CookiePriority::High) => b"; Priority=High",
            None => b"",
        });
        out.extend_from_slice(match self.same_site {
            Some(SameSite::Strict) => b"; SameSite=Strict",
            Some(SameSite::Lax) => b"; SameSite=Lax",
            Some(SameSite::None) => b"; SameSite=None",
            None => b"",
        });
        // Cannot fail: all of it was checked or encoded to be ASCII.
        Ok(String::from_utf8(out).unwrap_or_default())
    }
}

/// Labels of 1 to 63 letters, digits and hyphens, none at a label's ends; a dot may come first, as browsers ignore it.
fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        matches!(bytes.len(), 1..=63) && bytes.iter().all(is_inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    domain.is_empty() || domain.strip_prefix('.').unwrap_or(domain).split('.').all(is_label)
}

/// JavaScript's `encodeURIComponent`.
fn write_percent_encoded(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn bare(name: &str) -> Cookie {
        Cookie { name: name.to_owned(), path: None, http_only: false, same_site: None, ..Cookie::default() }
    }

    #[test]
    fn default_is_that_of_the_official_server() {
        let written = Cookie::default().serialize("oNbWXoU2gayC-8CVAAAA").unwrap();
        assert_eq!(written, "io=oNbWXoU2gayC-8CVAAAA; Path=/; HttpOnly; SameSite=Lax");
        let without_path = Cookie { path: None, ..Cookie::default() };
        assert_eq!(without_path.serialize("a").unwrap(), "io=a; HttpOnly; SameSite=Lax");
    }

    /// Each right side was printed by `cookie` 0.7.2 in Node 20.
    #[test]
    fn attributes_are_those_of_the_npm_package() {
        let all = Cookie {
            name: "a".to_owned(),
            path: Some("/x y".to_owned()),
            http_only: true,
            same_site: Some(SameSite::None),
            max_age_seconds: Some(3600),
            domain: Some(".example.com".to_owned()),
            secure: true,
            expires_unix_seconds: Some(1_795_450_473),
            partitioned: true,
            priority: Some(CookiePriority::High),
        };
        assert_eq!(
            all.serialize("b").unwrap(),
            "a=b; Max-Age=3600; Domain=.example.com; Path=/x y; Expires=Mon, 23 Nov 2026 16:14:33 GMT; HttpOnly; Secure; \
             Partitioned; Priority=High; SameSite=None"
        );
        let text = |cookie: Cookie| cookie.serialize("v").unwrap();
        assert_eq!(text(bare("a")), "a=v");
        assert_eq!(text(Cookie { max_age_seconds: Some(-5), ..bare("a") }), "a=v; Max-Age=-5");
        assert_eq!(text(Cookie { max_age_seconds: Some(0), ..bare("a") }), "a=v; Max-Age=0");
        assert_eq!(text(Cookie { same_site: Some(SameSite::Strict), ..bare("a") }), "a=v; SameSite=Strict");
        assert_eq!(text(Cookie { priority: Some(CookiePriority::Low), ..bare("a") }), "a=v; Priority=Low");
        assert_eq!(text(Cookie { priority: Some(CookiePriority::Medium), ..bare("a") }), "a=v; Priority=Medium");
        let empty = Cookie { path: Some(String::new()), domain: Some(String::new()), ..bare("a") };
        assert_eq!(text(empty), "a=v");
    }

    #[test]
    fn values_are_percent_encoded_as_in_javascript() {
        let value = "aZ9-_.!~*'() ;,/?:@&=+$#\"\\\u{e9}\u{1f600}\r\n\0%";
        assert_eq!(
            bare("a").serialize(value).unwrap(),
            "a=aZ9-_.!~*'()%20%3B%2C%2F%3F%3A%40%26%3D%2B%24%23%22%5C%C3%A9%F0%9F%98%80%0D%0A%00%25"
        );
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        for name in ["", "a b", "a;", "a=b", "\u{e9}", "a\r\n", "(", "\""] {
            assert_eq!(bare(name).serialize("v"), Err(CookieError::InvalidName), "{name:?}");
        }
        let label = "a".repeat(63);
        for domain in [".", "..a", "a..b", "a.", "-a", "a-", "a_b", "a b", "a;b", "a.com\r\n", &format!("{label}a")] {
            let cookie = Cookie { domain: Some(domain.to_owned()), ..bare("a") };
            assert_eq!(cookie.check(), Err(CookieError::InvalidDomain), "{domain:?}");
        }
        for domain in ["a", "A.b-c.9", ".a.com", &label, &format!("{label}.{label}")] {
            let cookie = Cookie { domain: Some(domain.to_owned()), ..bare("a") };
            assert_eq!(cookie.check(), Ok(()), "{domain:?}");
        }
        for path in ["/;", "/<", "/\u{e9}", "/\r\n", "/\0", "/\t", "/\x7f"] {
            let cookie = Cookie { path: Some(path.to_owned()), ..bare("a") };
            assert_eq!(cookie.check(), Err(CookieError::InvalidPath), "{path:?}");
        }
        let late = Cookie { expires_unix_seconds: Some(EXPIRES_UNIX_SECONDS_MAX + 1), ..bare("a") };
        assert_eq!(late.check(), Err(CookieError::InvalidExpires));
    }

    proptest! {
        /// No value can end the cookie, or the header field.
        #[test]
        fn value_is_one_word_whatever_it_is(value in any::<String>()) {
            let written = bare("a").serialize(&value).unwrap();
            prop_assert!(written.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';'));
            let decoded = crate::http::query::value(&written, "a");
            prop_assert_eq!(decoded.as_deref(), Some(&*value));
        }
    }
}
