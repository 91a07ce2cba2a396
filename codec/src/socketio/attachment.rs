//! The marks in a packet's JSON where its attachments belong.
//!
//! ```text
//! ["upload",{"file":{"_placeholder":true,"num":0}}]     + one binary message
//! ```
//!
//! An object is a placeholder if its own `_placeholder` is `true`, in whatever order and with whatever else in it; with
//! a key given twice the last one counts; a placeholder inside a placeholder is part of it and marks nothing. So does
//! the JavaScript decoder. `num` has to be a whole number from 0 to below the number of attachments; the
//! JavaScript decoder also lets 0.5 through, and hands out `undefined` for it. A placeholder inside a value that a
//! later member of the same key replaces is found all the same.

use super::json::{DEPTH_MAX, JsonError, Scanner, unescape};
use crate::json_string::write_decimal;
use core::fmt;
use core::ops::Range;
use smallvec::SmallVec;

/// Why the placeholders and the attachments of a packet do not fit each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachmentError {
    /// A placeholder's `num` is missing, not a whole number, or out of range.
    IllegalAttachments,
    /// The text is not valid JSON. Cannot happen with the payload of a decoded packet.
    InvalidJson,
}

impl fmt::Display for AttachmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IllegalAttachments => "illegal attachments",
            Self::InvalidJson => "invalid JSON",
        })
    }
}

impl core::error::Error for AttachmentError {}

impl From<JsonError> for AttachmentError {
    fn from(_: JsonError) -> Self {
        Self::InvalidJson
    }
}

/// One placeholder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placeholder {
    /// The whole object's range in the text, braces included.
    pub range: Range<usize>,
    /// Which attachment belongs here: an index from 0, below the packet's attachment count.
    pub num: u32,
}

/// The placeholders of one text, in the order in which they stand.
pub type Placeholders = SmallVec<[Placeholder; 4]>;

/// Finds every placeholder of `json` (one value, or a comma-separated list such as an event's arguments).
///
/// The same `num` may occur twice, and an attachment may have no placeholder at all: both are legal.
/// Cost: one pass; up to four placeholders without an allocation.
pub fn find(json: &str, attachment_count: u32) -> Result<Placeholders, AttachmentError> {
    let marks = find_marks(json, None)?;
    let mut placeholders = Placeholders::with_capacity(marks.len());
    for mark in marks {
        match mark.num {
            Some(num) if num < attachment_count => {
                placeholders.push(Placeholder { range: mark.range, num });
            }
            _ => return Err(AttachmentError::IllegalAttachments),
        }
    }
    Ok(placeholders)
}

/// The same where an object that names none of the attachments is no placeholder but an object: for JSON that was not
/// sent with placeholders, so that one in it is somebody's data.
pub fn find_known(json: &str, attachment_count: u32) -> Result<Placeholders, AttachmentError> {
    let marks = find_marks(json, Some(attachment_count))?;
    let known = |mark: Mark| mark.num.map(|num| Placeholder { range: mark.range, num });
    Ok(marks.into_iter().filter_map(known).collect())
}

/// Whether every placeholder of `json` names one of `attachment_count` attachments.
pub fn check(json: &str, attachment_count: u32) -> Result<(), AttachmentError> {
    find(json, attachment_count).map(|_| ())
}

/// How many placeholders stand in `json`, whatever their `num`.
pub fn count(json: &str) -> Result<usize, AttachmentError> {
    Ok(find_marks(json, None)?.len())
}

/// Appends the placeholder of attachment `num`: `{"_placeholder":true,"num":0}`.
pub fn write_placeholder(out: &mut Vec<u8>, num: u32) {
    out.extend_from_slice(b"{\"_placeholder\":true,\"num\":");
    write_decimal(out, u64::from(num));
    out.push(b'}');
}

/// A placeholder as found; `num` is `None` unless it is a whole number from 0.
struct Mark {
    range: Range<usize>,
    num: Option<u32>,
}

type Marks = SmallVec<[Mark; 4]>;

/// With a count, only what names one of so many attachments is marked.
fn find_marks(json: &str, known_count: Option<u32>) -> Result<Marks, JsonError> {
    let mut walk = Walk { json, scanner: Scanner::new(json), marks: Marks::new(), known_count };
    walk.scanner.whitespace();
    if walk.scanner.at == json.len() {
        return Ok(walk.marks);
    }
    loop {
        walk.value(1)?;
        walk.scanner.whitespace();
        if walk.scanner.peek() != Ok(b',') {
            break;
        }
        walk.scanner.at += 1;
        walk.scanner.whitespace();
    }
    walk.scanner.finish()?;
    Ok(walk.marks)
}

/// A walk over all containers. Recursive, at most [`DEPTH_MAX`] deep.
struct Walk<'a> {
    json: &'a str,
    scanner: Scanner<'a>,
    marks: Marks,
    known_count: Option<u32>,
}

impl Walk<'_> {
    fn value(&mut self, depth: u32) -> Result<(), JsonError> {
        match self.scanner.peek()? {
            b'{' | b'[' if depth > DEPTH_MAX => Err(JsonError::TooDeep),
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            _ => self.scanner.value(depth),
        }
    }

    fn array(&mut self, depth: u32) -> Result<(), JsonError> {
        self.scanner.at += 1;
        self.scanner.whitespace();
        if self.scanner.peek()? == b']' {
            self.scanner.at += 1;
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            if !self.has_next(b']')? {
                return Ok(());
            }
        }
    }

    fn object(&mut self, depth: u32) -> Result<(), JsonError> {
        let start = self.scanner.at;
        let outer_mark_count = self.marks.len();
        let mut is_placeholder = false;
        let mut num = None;
        self.scanner.at += 1;
        self.scanner.whitespace();
        if self.scanner.peek()? == b'}' {
            self.scanner.at += 1;
            return Ok(());
        }
        loop {
            let key = self.key()?;
            let value_start = self.scanner.at;
            self.value(depth + 1)?;
            let value = &self.json[value_start..self.scanner.at];
            match key {
                Key::Placeholder => is_placeholder = value == "true",
                Key::Num => num = whole_number(value),
                Key::Other => {}
            }
            if !self.has_next(b'}')? {
                break;
            }
        }
        let is_known = self.known_count.is_none_or(|count| num.is_some_and(|num| num < count));
        if is_placeholder && is_known {
            self.marks.truncate(outer_mark_count);
            self.marks.push(Mark { range: start..self.scanner.at, num });
        }
        Ok(())
    }

    fn key(&mut self) -> Result<Key, JsonError> {
        let start = self.scanner.at;
        if self.scanner.peek()? != b'"' {
            return Err(JsonError::UnexpectedByte);
        }
        let has_escapes = self.scanner.string()?;
        let raw = &self.json[start + 1..self.scanner.at - 1];
        self.scanner.whitespace();
        self.scanner.expect(b':')?;
        self.scanner.whitespace();
        Ok(if has_escapes { Key::of(&unescape(raw)) } else { Key::of(raw) })
    }

    /// Passes a comma (more follows) or the closing byte (nothing does).
    fn has_next(&mut self, closing: u8) -> Result<bool, JsonError> {
        self.scanner.whitespace();
        let byte = self.scanner.peek()?;
        if byte != b',' && byte != closing {
            return Err(JsonError::UnexpectedByte);
        }
        self.scanner.at += 1;
        if byte == b',' {
            self.scanner.whitespace();
        }
        Ok(byte == b',')
    }
}

/// The two keys that matter.
enum Key {
    Placeholder,
    Num,
    Other,
}

impl Key {
    fn of(name: &str) -> Self {
        match name {
            "_placeholder" => Self::Placeholder,
            "num" => Self::Num,
            _ => Self::Other,
        }
    }
}

/// The number if it is whole and from 0: `0`, and, as in JavaScript, also `1.0`, `1e0` and `-0`.
fn whole_number(value: &str) -> Option<u32> {
    if !value.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return None;
    }
    let number: f64 = value.parse().ok()?;
    let is_index = number >= 0.0 && number <= f64::from(u32::MAX) && number.fract() == 0.0;
    is_index.then_some(number as u32)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    /// The objects found and their numbers.
    fn found(json: &str, attachment_count: u32) -> Result<Vec<(&str, u32)>, AttachmentError> {
        let placeholders = find(json, attachment_count)?;
        Ok(placeholders.into_iter().map(|found| (&json[found.range], found.num)).collect())
    }

    #[test]
    fn placeholders_are_found_in_their_order() {
        let json = r#"["e",{"_placeholder":true,"num":1},[{"a":{"_placeholder":true,"num":0}}],1]"#;
        let expected = [(r#"{"_placeholder":true,"num":1}"#, 1), (r#"{"_placeholder":true,"num":0}"#, 0)];
        assert_eq!(found(json, 2).unwrap(), expected);
        assert_eq!((check(json, 2), count(json)), (Ok(()), Ok(2)));
        // Without the brackets too: an event's arguments.
        assert_eq!(found(&json[5..json.len() - 1], 2).unwrap(), expected);
    }

    #[test]
    fn spelling_does_not_matter() {
        for json in [
            r#"{"_placeholder":true,"num":0}"#,
            r#"{ "num" : 0 , "_placeholder" : true }"#,
            r#"{"x":[{}],"num":0,"_placeholder":true,"y":null}"#,
            r#"{"_\u0070laceholder":true,"n\u0075m":0}"#,
            r#"{"_placeholder":false,"num":7,"num":0,"_placeholder":true}"#,
            r#"{"_placeholder":true,"num":0.0}"#,
            r#"{"_placeholder":true,"num":0e5}"#,
            r#"{"_placeholder":true,"num":-0}"#,
            r#"{"_placeholder":true,"num":0,"inner":{"_placeholder":true,"num":99}}"#,
        ] {
            let json = format!(" {json} ");
            assert_eq!(found(&json, 1).unwrap(), [(json.trim(), 0)]);
        }
    }

    #[test]
    fn what_only_looks_like_a_placeholder_is_none() {
        for json in [
            "",
            " ",
            "[]",
            r#""{\"_placeholder\":true,\"num\":9}""#,
            r#"{"_placeholder":false,"num":9}"#,
            r#"{"_placeholder":"true","num":9}"#,
            r#"{"_placeholder":1,"num":9}"#,
            r#"{"_placeholder":[true],"num":9}"#,
            r#"{"_placeholder":true,"_placeholder":null,"num":9}"#,
            r#"{"placeholder":true,"num":9}"#,
            r#"{"_placeholder ":true,"num":9}"#,
            r#"["_placeholder",true,"num",9]"#,
        ] {
            assert_eq!(found(json, 0), Ok(vec![]), "{json}");
            assert_eq!(count(json), Ok(0));
        }
    }

    #[test]
    fn numbers_have_to_name_an_attachment() {
        for num in ["2", "-1", "0.5", "1e3", "4294967296", "1e400", "-1e400", "\"0\"", "null", "true", "[0]", "{}"] {
            let json = format!(r#"["e",{{"_placeholder":true,"num":{num}}}]"#);
            assert_eq!(check(&json, 2), Err(AttachmentError::IllegalAttachments), "{num}");
            assert_eq!(count(&json), Ok(1));
        }
        assert_eq!(check(r#"{"_placeholder":true}"#, 2), Err(AttachmentError::IllegalAttachments));
        assert_eq!(check(r#"{"_placeholder":true,"num":0}"#, 0), Err(AttachmentError::IllegalAttachments));
        assert_eq!(check(r#"{"_placeholder":true,"num":1.0}"#, 2), Ok(()));
    }

    #[test]
    fn an_attachment_may_be_named_twice_or_never() {
        let mark = r#"{"_placeholder":true,"num":0}"#;
        assert_eq!(found(&format!("{mark},{mark}"), 3).unwrap(), [(mark, 0), (mark, 0)]);
        assert_eq!(check("[\"e\"]", 3), Ok(()));
    }

    #[test]
    fn broken_json_is_an_error_and_never_a_panic() {
        let json = r#"["e",{"_placeholder":true,"num":0,"x":[1,{}]},"\u00e9"]"#;
        for end in 1..json.len() {
            assert_eq!(check(&json[..end], 1), Err(AttachmentError::InvalidJson), "{end}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(check(&deep, 1), Err(AttachmentError::InvalidJson));
        let depth_max = DEPTH_MAX as usize;
        let nested = format!("{}{}", "[".repeat(depth_max), "]".repeat(depth_max));
        assert_eq!(check(&nested, 1), Ok(()));
    }

    #[test]
    fn a_written_placeholder_is_found() {
        let mut out = Vec::new();
        write_placeholder(&mut out, 7);
        let written = std::str::from_utf8(&out).unwrap();
        assert_eq!(written, r#"{"_placeholder":true,"num":7}"#);
        assert_eq!(found(written, 8).unwrap(), [(written, 7)]);
    }

    /// The reference: parse everything, then look into every object.
    fn walk(value: &Value, nums: &mut Vec<Option<u64>>) {
        match value {
            Value::Object(members) if members.get("_placeholder") == Some(&Value::Bool(true)) => {
                nums.push(members.get("num").and_then(Value::as_u64));
            }
            Value::Object(members) => members.values().for_each(|value| walk(value, nums)),
            Value::Array(items) => items.iter().for_each(|value| walk(value, nums)),
            _ => {}
        }
    }

    fn json_with_marks() -> impl Strategy<Value = String> {
        let leaf = prop::sample::select(vec![
            "1",
            "\"_placeholder\"",
            "true",
            "{}",
            "[]",
            "{\"num\":1}",
            "{\"_placeholder\":true,\"num\":0}",
            "{\"num\":2,\"_placeholder\":true}",
            "{\"_placeholder\":true}",
        ]);
        leaf.prop_map(str::to_owned).prop_recursive(4, 24, 4, |inner| {
            let array = prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(" , ")));
            let key = prop::sample::select(vec!["a", "b", "_placeholder", "num"]);
            // Every key once: serde_json keeps only the last value of a key, and with it its placeholders only.
            let object = prop::collection::btree_map(key, inner, 0..4).prop_map(|members| {
                let members: Vec<_> = members.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
                format!("{{{}}}", members.join(","))
            });
            prop_oneof![array, object]
        })
    }

    proptest! {
        #[test]
        fn finds_what_a_full_parse_finds(
            json in json_with_marks(),
            escaped in any::<bool>(),
            attachment_count in 0u32..4,
        ) {
            let json = if escaped { json.replace("_placeholder\":", "_pl\\u0061ceholder\":") } else { json };
            let mut nums = Vec::new();
            walk(&serde_json::from_str(&json).unwrap(), &mut nums);
            prop_assert_eq!(count(&json), Ok(nums.len()));
            let is_legal = nums.iter().all(|num| num.is_some_and(|num| num < u64::from(attachment_count)));
            match found(&json, attachment_count) {
                Err(error) => {
                    prop_assert_eq!(error, AttachmentError::IllegalAttachments);
                    prop_assert!(!is_legal);
                }
                Ok(found) => {
                    prop_assert!(is_legal);
                    let mut expected: Vec<_> = nums.into_iter().flatten().collect();
                    let mut seen = Vec::new();
                    for (text, num) in found {
                        let object: Value = serde_json::from_str(text).unwrap();
                        prop_assert_eq!(&object["_placeholder"], &Value::Bool(true));
                        prop_assert_eq!(object["num"].as_u64(), Some(u64::from(num)));
                        seen.push(u64::from(num));
                    }
                    expected.sort_unstable();
                    seen.sort_unstable();
                    prop_assert_eq!(seen, expected);
                }
            }
        }
    }
}
