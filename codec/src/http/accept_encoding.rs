//! Which compression an answer may have: a list of ours against the client's `Accept-Encoding`.
//!
//! A client gives each coding a quality from 0 (refused) to 1 (the default). The greatest quality wins; among equals,
//! a coding that is named before one that only `*` covers, then the one that the client names first, then our own
//! order. Nothing at all is a choice too: the answer goes out as it is.
//! So does the npm package `accepts` 1.3.8 (with `negotiator` 0.6.3), which engine.io uses, its oddities included: a
//! coding that is named twice has its later, or better, place.
//! Source: RFC 9110 section 12.5.3.

use core::cmp::Ordering;
use smallvec::{SmallVec, smallvec};

/// A compression that we can make, or have made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentEncoding {
    /// Brotli.
    Brotli,
    /// gzip.
    Gzip,
    /// zlib's format, which HTTP calls deflate.
    Deflate,
}

impl ContentEncoding {
    /// Its name in `Accept-Encoding` and `Content-Encoding`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }
}

/// The best of `available`, or `None` if the client wants none of them. `values` are those of all fields
/// `Accept-Encoding`; no field at all means no compression.
///
/// Cost: one pass over the values, each item compared with each of `available`.
pub fn choose<'a>(values: impl Iterator<Item = &'a [u8]>, available: &[ContentEncoding]) -> Option<ContentEncoding> {
    let mut found: SmallVec<[Option<Match>; 4]> = smallvec![None; available.len()];
    for (index, item) in values.flat_map(|value| value.split(|&byte| byte == b',')).enumerate() {
        let Some((coding, quality)) = decode_item(item) else { continue };
        for (encoding, found) in available.iter().zip(&mut found) {
            let is_named = coding.eq_ignore_ascii_case(encoding.name().as_bytes());
            let item = Match { quality, is_named, index };
            if (is_named || coding == b"*") && found.is_none_or(|earlier| item.replaces(&earlier)) {
                *found = Some(item);
            }
        }
    }
    let mut best: Option<(ContentEncoding, Match)> = None;
    for (&encoding, found) in available.iter().zip(found) {
        let Some(found) = found.filter(|found| found.quality > 0.0) else { continue };
        if best.is_none_or(|(_, best)| found.is_preferred_to(&best)) {
            best = Some((encoding, found));
        }
    }
    best.map(|(encoding, _)| encoding)
}

/// What a header says about one coding.
#[derive(Clone, Copy, Debug)]
struct Match {
    /// Not a number if the header's is none.
    quality: f64,
    /// By its name, not by `*`.
    is_named: bool,
    /// The place in the list.
    index: usize,
}

impl Match {
    /// Whether this is what counts for a coding of which an item further left says `earlier`.
    fn replaces(&self, earlier: &Self) -> bool {
        if self.is_named != earlier.is_named {
            return self.is_named;
        }
        // A quality that is no number compares as equal.
        self.quality.partial_cmp(&earlier.quality) != Some(Ordering::Less)
    }

    /// Whether the coding of this comes before that of `other`, which we would rather have. Both have a quality.
    fn is_preferred_to(&self, other: &Self) -> bool {
        let by_quality = self.quality.total_cmp(&other.quality);
        let order = by_quality.then(self.is_named.cmp(&other.is_named)).then(other.index.cmp(&self.index));
        order == Ordering::Greater
    }
}

/// `gzip;q=0.5` to its two parts; `None` if it is no coding.
fn decode_item(item: &[u8]) -> Option<(&[u8], f64)> {
    let mut parts = item.split(|&byte| byte == b';');
    let coding = parts.next()?.trim_ascii();
    if coding.is_empty() || coding.iter().any(u8::is_ascii_whitespace) {
        return None;
    }
    let quality = parts.map(<[u8]>::trim_ascii).find_map(|parameter| match parameter {
        b"q" => Some(b"".as_slice()),
        [b'q', b'=', text @ ..] => Some(text),
        _ => None,
    });
    Some((coding, quality.map_or(1.0, leading_number)))
}

/// The number that these bytes begin with; NaN if they begin with none.
fn leading_number(text: &[u8]) -> f64 {
    let text = text.trim_ascii_start();
    let digits = |from: usize| text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut end = usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let whole_count = digits(end);
    end += whole_count;
    let mut fraction_count = 0;
    if text.get(end) == Some(&b'.') {
        fraction_count = digits(end + 1);
        end += 1 + fraction_count;
    }
    if whole_count + fraction_count == 0 {
        return f64::NAN;
    }
    if let Some(b'e' | b'E') = text.get(end) {
        let sign_len = usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        let exponent_start = end + 1 + sign_len;
        let digit_count = if exponent_start <= text.len() { digits(exponent_start) } else { 0 };
        if digit_count > 0 {
            end = exponent_start + digit_count;
        }
    }
    std::str::from_utf8(&text[..end]).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ENGINE: [ContentEncoding; 2] = [ContentEncoding::Gzip, ContentEncoding::Deflate];
    const FILES: [ContentEncoding; 3] = [ContentEncoding::Brotli, ContentEncoding::Gzip, ContentEncoding::Deflate];

    fn chosen(header: &str, available: &[ContentEncoding]) -> &'static str {
        choose([header.as_bytes()].into_iter(), available).map_or("-", ContentEncoding::name)
    }

    /// The choices between gzip and deflate, and with br before them, that `accepts` 1.3.8 made in Node 20.
    #[test]
    fn choices_are_those_of_the_npm_package() {
        let cases = [
            ("", "-", "-"),
            ("gzip", "gzip", "gzip"),
            ("deflate", "deflate", "deflate"),
            ("br", "-", "br"),
            ("gzip, deflate", "gzip", "gzip"),
            ("deflate, gzip", "deflate", "deflate"),
            ("gzip, deflate, br", "gzip", "gzip"),
            ("br, gzip, deflate", "gzip", "br"),
            ("*", "gzip", "br"),
            ("*;q=0", "-", "-"),
            ("gzip;q=0", "-", "-"),
            ("gzip;q=0, *", "deflate", "br"),
            ("*, gzip;q=0", "deflate", "br"),
            ("gzip;q=0.5, deflate;q=0.8", "deflate", "deflate"),
            ("gzip;q=0.5, *", "deflate", "br"),
            ("*;q=0.5, deflate;q=0.1", "gzip", "br"),
            ("identity", "-", "-"),
            ("identity;q=1, *;q=0", "-", "-"),
            ("gzip;q=1.0, identity; q=0.5, *;q=0", "gzip", "gzip"),
            ("GZIP", "gzip", "gzip"),
            ("gzip;Q=0", "gzip", "gzip"),
            ("gzip; q=0.2 , deflate ; q=0.3", "deflate", "deflate"),
            ("gzip ; q=0.2, deflate;q=0.1", "gzip", "gzip"),
            ("gzip;q=abc", "-", "-"),
            ("gzip;q", "-", "-"),
            ("gzip;q=", "-", "-"),
            ("gzip;q=-1", "-", "-"),
            ("gzip;q=5, deflate", "gzip", "gzip"),
            ("gzip;q=0.5x, deflate;q=0.4", "gzip", "gzip"),
            ("gzip;a=1;q=0, deflate", "deflate", "deflate"),
            ("gzip;q=1;q=0", "gzip", "gzip"),
            ("gzip, deflate, gzip", "deflate", "deflate"),
            ("gzip;q=0.2, deflate;q=0.5, gzip", "gzip", "gzip"),
            ("gzip;q=0, gzip", "gzip", "gzip"),
            ("gzip, gzip;q=0", "gzip", "gzip"),
            ("gz ip, deflate", "deflate", "deflate"),
            ("gzip foo", "-", "-"),
            ("gzip,,deflate", "gzip", "gzip"),
            (",deflate,", "deflate", "deflate"),
            (";q=1", "-", "-"),
            ("x-gzip", "-", "-"),
            ("gzip;q =0", "gzip", "gzip"),
            ("deflate, *", "deflate", "deflate"),
            ("*, deflate", "deflate", "deflate"),
            ("br;q=1.0, gzip;q=0.8, *;q=0.1", "gzip", "br"),
            ("gzip;q=1e-1, deflate;q=0.2", "deflate", "deflate"),
            ("gzip;q=+.5, deflate;q=.4", "gzip", "gzip"),
            ("gzip;q=., deflate;q=0.1", "deflate", "deflate"),
            ("deflate;q=0.001", "deflate", "deflate"),
            ("gzip;q=NaN, gzip;q=0.5", "gzip", "gzip"),
            ("gzip;q=0.5, gzip;q=x", "-", "-"),
            ("gzip\t;\tq=0.1, deflate;q=0.2", "deflate", "deflate"),
            ("gzip;q=1e, deflate;q=0.9", "gzip", "gzip"),
            ("gzip;q=0.30e1x, deflate", "gzip", "gzip"),
        ];
        for (header, engine, files) in cases {
            assert_eq!((chosen(header, &ENGINE), chosen(header, &FILES)), (engine, files), "{header:?}");
        }
    }

    #[test]
    fn no_field_means_no_compression_and_several_are_one_list() {
        assert_eq!(choose(std::iter::empty(), &ENGINE), None);
        let fields = [b"deflate".as_slice(), b"gzip"];
        assert_eq!(choose(fields.into_iter(), &ENGINE), Some(ContentEncoding::Deflate));
        assert_eq!(choose(fields.into_iter().rev(), &ENGINE), Some(ContentEncoding::Gzip));
        assert_eq!(choose(fields.into_iter(), &[]), None);
    }

    proptest! {
        #[test]
        fn nothing_panics_and_nothing_refused_is_chosen(header in "[gzipdflate*br;q=0-9., eE+\\-]{0,40}") {
            let _ = chosen(&header, &FILES);
            let refusing = format!("{header},gzip;q=0,deflate;q=0,br;q=0,*;q=0");
            let named = ["gzip", "deflate", "br", "*"].iter().any(|name| header.contains(name));
            if !named {
                prop_assert_eq!(chosen(&refusing, &FILES), "-");
            }
        }

        #[test]
        fn numbers_are_read_as_far_as_they_go(number in 0.0f64..2.0, tail in "[a-dx ]{0,3}") {
            let text = format!(" {number}{tail}");
            prop_assert_eq!(leading_number(text.as_bytes()), number);
        }
    }
}
