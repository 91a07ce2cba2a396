//! Arguments in JSON to arguments in MessagePack, with attachments put where their placeholders stand.
//!
//! The bytes are those of notepack.io 2.2.0 for the value that `JSON.parse` makes: numbers without a fraction in the
//! shortest integer form, all others in eight bytes. Whole numbers between 2^53 and 2^64 stay exact, and those beyond
//! 2^64, which notepack.io cuts off, are written as floating point.

use crate::socketio::attachment::{self, AttachmentError, Placeholders};
use crate::socketio::json::{DEPTH_MAX, JsonError, Scanner, unescape};
use core::fmt;
use rmp::encode;
use std::borrow::Cow;

/// Appends `json`, one value or several with commas between them (such as an event's arguments), as MessagePack, and
/// says how many values these were. Placeholders become binary values; an object that looks like one but names no
/// attachment is an object.
///
/// Errors: not JSON, or nested too deep; then a part may have been appended. Cost: one pass, a second one over `json` if
/// there are attachments; values of 16 elements and more are moved once when their count is known.
pub fn from_json<A: AsRef<[u8]>>(json: &str, attachments: &[A], out: &mut Vec<u8>) -> Result<u32, AttachmentError> {
    let placeholders = if attachments.is_empty() {
        Placeholders::new()
    } else {
        let count = u32::try_from(attachments.len()).unwrap_or(u32::MAX);
        attachment::find_known(json, count)?
    };
    let mut writer = Writer { json, scanner: Scanner::new(json), attachments, placeholders, next: 0, out };
    writer.scanner.whitespace();
    if writer.scanner.at == json.len() {
        return Ok(0);
    }
    let mut value_count = 0;
    loop {
        writer.value(1)?;
        value_count += 1;
        writer.scanner.whitespace();
        if writer.scanner.peek() != Ok(b',') {
            break;
        }
        writer.scanner.at += 1;
        writer.scanner.whitespace();
    }
    writer.scanner.finish()?;
    Ok(value_count)
}

/// Writing into a `Vec` cannot fail; rmp's functions know only writers in general.
pub(super) fn written<T, E: fmt::Debug>(result: Result<T, E>) {
    drop(result.expect("a Vec takes all bytes"));
}

/// Appends text with its head.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    written(encode::write_str_len(out, text.len() as u32));
    out.extend_from_slice(text.as_bytes());
}

struct Writer<'a, 'o, A> {
    json: &'a str,
    scanner: Scanner<'a>,
    attachments: &'a [A],
    placeholders: Placeholders,
    /// The first placeholder that was not passed yet.
    next: usize,
    out: &'o mut Vec<u8>,
}

impl<'a, A: AsRef<[u8]>> Writer<'a, '_, A> {
    /// Recursive, at most [`DEPTH_MAX`] deep. `depth` is that of a container here, from 1.
    fn value(&mut self, depth: u32) -> Result<(), JsonError> {
        let start = self.scanner.at;
        match self.scanner.peek()? {
            b'{' | b'[' if depth > DEPTH_MAX => Err(JsonError::TooDeep),
            b'{' if self.placeholders.get(self.next).is_some_and(|placeholder| placeholder.range.start == start) => {
                self.attachment();
                Ok(())
            }
            b'{' => self.container(b'}', depth),
            b'[' => self.container(b']', depth),
            b'"' => {
                let text = self.string()?;
                write_text(self.out, &text);
                Ok(())
            }
            first => {
                self.scanner.value(depth)?;
                match first {
                    b't' => written(encode::write_bool(self.out, true)),
                    b'f' => written(encode::write_bool(self.out, false)),
                    b'n' => written(encode::write_nil(self.out)),
                    _ => write_number(self.out, &self.json[start..self.scanner.at]),
                }
                Ok(())
            }
        }
    }

    fn attachment(&mut self) {
        let placeholder = &self.placeholders[self.next];
        self.next += 1;
        self.scanner.at = placeholder.range.end;
        // In range: the placeholders were found with this very count.
        let bytes = self.attachments[placeholder.num as usize].as_ref();
        written(encode::write_bin_len(self.out, bytes.len() as u32));
        self.out.extend_from_slice(bytes);
    }

    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        let start = self.scanner.at;
        let has_escapes = self.scanner.string()?;
        let raw = &self.json[start + 1..self.scanner.at - 1];
        Ok(if has_escapes { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) })
    }

    /// An array, or an object if `closing` is a brace.
    fn container(&mut self, closing: u8, depth: u32) -> Result<(), JsonError> {
        let is_map = closing == b'}';
        let head_at = self.out.len();
        // Most containers are small: the one byte of their head is kept free, and more is made room for later.
        self.out.push(0);
        let mut count = 0u32;
        self.scanner.at += 1;
        self.scanner.whitespace();
        if self.scanner.peek()? == closing {
            self.scanner.at += 1;
        } else {
            loop {
                if is_map {
                    self.key()?;
                }
                self.value(depth + 1)?;
                count = count.saturating_add(1);
                self.scanner.whitespace();
                let byte = self.scanner.peek()?;
                if byte != b',' && byte != closing {
                    return Err(JsonError::UnexpectedByte);
                }
                self.scanner.at += 1;
                if byte == closing {
                    break;
                }
                self.scanner.whitespace();
            }
        }
        let mut head = Vec::with_capacity(5);
        if is_map {
            written(encode::write_map_len(&mut head, count));
        } else {
            written(encode::write_array_len(&mut head, count));
        }
        if let [byte] = head[..] {
            self.out[head_at] = byte;
        } else {
            self.out.splice(head_at..=head_at, head);
        }
        Ok(())
    }

    fn key(&mut self) -> Result<(), JsonError> {
        if self.scanner.peek()? != b'"' {
            return Err(JsonError::UnexpectedByte);
        }
        let key = self.string()?;
        write_text(self.out, &key);
        self.scanner.whitespace();
        self.scanner.expect(b':')?;
        self.scanner.whitespace();
        Ok(())
    }
}

/// Appends a number of JSON.
fn write_number(out: &mut Vec<u8>, text: &str) {
    if let Ok(number) = text.parse::<i64>() {
        written(encode::write_sint(out, number));
        return;
    }
    if let Ok(number) = text.parse::<u64>() {
        written(encode::write_uint(out, number));
        return;
    }
    // JSON's grammar is a part of Rust's: it parses, if need be to an infinity.
    let number: f64 = text.parse().unwrap_or(f64::NAN);
    if number.fract() != 0.0 {
        written(encode::write_f64(out, number));
    } else if (-TWO_TO_63..TWO_TO_63).contains(&number) {
        written(encode::write_sint(out, number as i64));
    } else if (0.0..2.0 * TWO_TO_63).contains(&number) {
        written(encode::write_uint(out, number as u64));
    } else {
        written(encode::write_f64(out, number));
    }
}

const TWO_TO_63: f64 = (1u64 << 63) as f64;
