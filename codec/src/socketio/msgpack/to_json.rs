//! Arguments in MessagePack to arguments in JSON, with their binary values taken out as attachments.
//!
//! | MessagePack | JSON |
//! |---|---|
//! | `undefined` (`d4 00 00`) | `null`; a pair with it is left out |
//! | date (`d7 00` and milliseconds) | `"2026-11-23T16:14:33.005Z"`, `null` where JavaScript has no date |
//! | binary, ArrayBuffer | a placeholder, and an attachment |
//! | another extension | `[type, placeholder]` |
//! | NaN, infinities | `null` |
//! | a key that is a number, `true`, `false`, nil | the same as text |
//!
//! That is what JavaScript would make of the decoded value with `JSON.stringify`, and with the default parser's
//! placeholders; whole numbers beyond 2^53, which JavaScript rounds, stay exact. A map that *looks* like a placeholder is
//! not told apart from one: with attachments beside it, it is read as one.

use super::MsgpackError;
use super::reader::{Head, Reader};
use crate::calendar::write_iso_date;
use crate::json_string::{write_decimal, write_json_string};
use crate::socketio::attachment::write_placeholder;
use core::ops::Range;

/// Appends `args`, values one behind the other, as JSON with commas between them, such as stands between an event's
/// name and its closing bracket. `args` may also be one whole value.
///
/// The ranges of binary values in `args` are pushed to `attachments`; placeholders go on counting where it ended.
/// Errors: not MessagePack, or nested deeper than [`DEPTH_MAX`](crate::socketio::json::DEPTH_MAX); a part may have been
/// appended then. Cost: one pass.
pub fn to_json(args: &[u8], out: &mut Vec<u8>, attachments: &mut Vec<Range<usize>>) -> Result<(), MsgpackError> {
    let mut writer = Writer { reader: Reader::new(args), out, attachments };
    let mut is_first = true;
    while !writer.reader.is_at_end() {
        if !is_first {
            writer.out.push(b',');
        }
        is_first = false;
        writer.value(1)?;
    }
    Ok(())
}

struct Writer<'a, 'o> {
    reader: Reader<'a>,
    out: &'o mut Vec<u8>,
    attachments: &'o mut Vec<Range<usize>>,
}

impl Writer<'_, '_> {
    /// Recursive, as deep as the reader allows. `depth` is that of a container here, from 1.
    fn value(&mut self, depth: u32) -> Result<(), MsgpackError> {
        let head = self.reader.head()?;
        head.check_depth(depth)?;
        match head {
            Head::Nil | Head::Undefined => self.out.extend_from_slice(b"null"),
            Head::Bool(value) => self.out.extend_from_slice(if value { b"true" } else { b"false" }),
            Head::Integer(number) => self.integer(number),
            Head::Float(number) => self.float(number),
            Head::Text(range) => self.text(range),
            Head::Binary(range) => self.attachment(range),
            Head::Date(unix_ms) => self.date(unix_ms),
            Head::Extension(kind, range) => {
                self.out.push(b'[');
                self.integer(kind.into());
                self.out.push(b',');
                self.attachment(range);
                self.out.push(b']');
            }
            Head::Array(count) => {
                self.out.push(b'[');
                for index in 0..count {
                    if index > 0 {
                        self.out.push(b',');
                    }
                    self.value(depth + 1)?;
                }
                self.out.push(b']');
            }
            Head::Map(count) => {
                self.out.push(b'{');
                let mut is_first = true;
                for _ in 0..count {
                    self.pair(&mut is_first, depth)?;
                }
                self.out.push(b'}');
            }
        }
        Ok(())
    }

    fn pair(&mut self, is_first: &mut bool, depth: u32) -> Result<(), MsgpackError> {
        let key = self.reader.key()?;
        let mut ahead = self.reader.clone();
        if ahead.head()? == Head::Undefined {
            self.reader = ahead;
            return Ok(());
        }
        if !*is_first {
            self.out.push(b',');
        }
        *is_first = false;
        match key {
            Head::Text(range) => self.text(range),
            key => {
                self.out.push(b'"');
                match key {
                    Head::Integer(number) => self.integer(number),
                    Head::Bool(value) => self.out.extend_from_slice(if value { b"true" } else { b"false" }),
                    _ => self.out.extend_from_slice(b"null"),
                }
                self.out.push(b'"');
            }
        }
        self.out.push(b':');
        self.value(depth + 1)
    }

    fn text(&mut self, range: Range<usize>) {
        write_json_string(self.out, &String::from_utf8_lossy(self.reader.bytes(range)));
    }

    fn attachment(&mut self, range: Range<usize>) {
        write_placeholder(self.out, self.attachments.len() as u32);
        self.attachments.push(range);
    }

    fn date(&mut self, unix_ms: i64) {
        let start = self.out.len();
        self.out.push(b'"');
        if write_iso_date(self.out, unix_ms) {
            self.out.push(b'"');
        } else {
            self.out.truncate(start);
            self.out.extend_from_slice(b"null");
        }
    }

    fn integer(&mut self, number: i128) {
        if number < 0 {
            self.out.push(b'-');
        }
        // From -2^63 to 2^64 - 1: the magnitude always fits.
        write_decimal(self.out, number.unsigned_abs() as u64);
    }

    fn float(&mut self, number: f64) {
        const EXACT_MAX: f64 = (1u64 << 53) as f64;
        if !number.is_finite() {
            self.out.extend_from_slice(b"null");
        } else if number.fract() == 0.0 && number.abs() <= EXACT_MAX {
            self.integer(number as i128);
        } else {
            // The shortest digits that give the same number back, with an exponent where the number is very
            // large or small: the grammar is JSON's.
            self.out.extend_from_slice(format!("{number:?}").as_bytes());
        }
    }
}
