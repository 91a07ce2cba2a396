//! Finds its way through JSON without parsing it: is it valid, what is the event called, where does each argument lie.
//!
//! ```text
//! [ "chat" , {"a":1} , [2,3] ]
//!    name    arguments-------
//! ```
//!
//! The payload of a packet stays text until a handler asks for a type, so this is all that the engine itself needs of
//! it. One pass, no recursion (a bit per open container), nothing allocated. What it accepts is exactly RFC 8259,
//! down to [`DEPTH_MAX`] levels; a lone surrogate escape such as `"\ud800"` is accepted, as JavaScript does.

use core::fmt;
use core::ops::Range;
use std::borrow::Cow;

/// How many containers may lie in each other. Deeper JSON is refused, so that whoever deserializes it recursively
/// (serde does) cannot be driven out of stack.
pub const DEPTH_MAX: u32 = 128;

/// Why a text is not the JSON it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonError {
    /// The text ends inside a value.
    UnexpectedEnd,
    /// A byte that cannot stand where it stands.
    UnexpectedByte,
    /// A character below U+0020 inside a string.
    ControlCharacter,
    /// A backslash that begins no escape of JSON.
    InvalidEscape,
    /// More than [`DEPTH_MAX`] containers lie in each other.
    TooDeep,
    /// The value is complete and something follows it.
    TrailingBytes,
    /// The value is not an array.
    NotAnArray,
    /// The value is not an object.
    NotAnObject,
    /// The array does not begin with a string or a number.
    EventNameMissing,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnexpectedEnd => "JSON ends inside a value",
            Self::UnexpectedByte => "unexpected byte in JSON",
            Self::ControlCharacter => "control character in a JSON string",
            Self::InvalidEscape => "invalid escape in a JSON string",
            Self::TooDeep => "JSON nested too deeply",
            Self::TrailingBytes => "bytes after the JSON value",
            Self::NotAnArray => "not a JSON array",
            Self::NotAnObject => "not a JSON object",
            Self::EventNameMissing => "an event begins with a string or a number",
        })
    }
}

impl core::error::Error for JsonError {}

/// Where an event's name lies in its JSON array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameBounds {
    /// The name's range in the text, without quotes. A number is named by its own text.
    pub range: Range<usize>,
    /// Whether backslashes stand in it; without them the range is the name.
    pub has_escapes: bool,
}

impl NameBounds {
    /// The name, out of the same text that was skimmed. A copy only if it has escapes; lone surrogates become U+FFFD.
    pub fn text<'a>(&self, data: &'a str) -> Cow<'a, str> {
        let raw = &data[self.range.clone()];
        if self.has_escapes { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) }
    }
}

/// An event's array, looked through: the ranges are ranges of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSkim {
    /// Where the name lies.
    pub name: NameBounds,
    /// The arguments' raw text: from the first byte of the second element to the last byte of the last. Empty if none.
    pub arguments: Range<usize>,
    /// How many elements follow the name.
    pub argument_count: u32,
}

/// An array, looked through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArraySkim {
    /// From the first byte of the first element to the last byte of the last. Empty if there is none.
    pub elements: Range<usize>,
    /// How many elements there are.
    pub element_count: u32,
}

/// Validates an event's array and finds its name and arguments.
///
/// Errors: the text is not valid JSON, not an array, or its first element is neither a string nor a number.
/// Cost: one pass over the bytes.
pub fn skim_event(data: &str) -> Result<EventSkim, JsonError> {
    let mut scanner = Scanner::new(data);
    scanner.open_array()?;
    let start = scanner.at;
    let name = match scanner.peek()? {
        b'"' => {
            let has_escapes = scanner.string()?;
            NameBounds { range: start + 1..scanner.at - 1, has_escapes }
        }
        b'-' | b'0'..=b'9' => {
            scanner.number()?;
            NameBounds { range: start..scanner.at, has_escapes: false }
        }
        _ => return Err(JsonError::EventNameMissing),
    };
    scanner.whitespace();
    let (arguments, argument_count) = match scanner.peek()? {
        b',' => {
            scanner.at += 1;
            scanner.elements()?
        }
        _ => (scanner.at..scanner.at, 0),
    };
    scanner.close_array()?;
    Ok(EventSkim { name, arguments, argument_count })
}

/// Validates an array and finds its elements.
///
/// Cost: one pass over the bytes.
pub fn validate_array(data: &str) -> Result<ArraySkim, JsonError> {
    let mut scanner = Scanner::new(data);
    scanner.open_array()?;
    let (elements, element_count) = match scanner.peek()? {
        b']' => (scanner.at..scanner.at, 0),
        _ => scanner.elements()?,
    };
    scanner.close_array()?;
    Ok(ArraySkim { elements, element_count })
}

/// Validates an object.
///
/// Cost: one pass over the bytes.
pub fn validate_object(data: &str) -> Result<(), JsonError> {
    let mut scanner = Scanner::new(data);
    scanner.whitespace();
    if scanner.peek()? != b'{' {
        return Err(JsonError::NotAnObject);
    }
    scanner.value(0)?;
    scanner.finish()
}

/// Validates any one value.
///
/// Cost: one pass over the bytes.
pub fn validate(data: &str) -> Result<(), JsonError> {
    let mut scanner = Scanner::new(data);
    scanner.whitespace();
    scanner.value(0)?;
    scanner.finish()
}

/// Whether the text is one valid string. Anything that does not begin as one is simply `false`.
pub(super) fn is_string(data: &str) -> Result<bool, JsonError> {
    let mut scanner = Scanner::new(data);
    scanner.whitespace();
    if scanner.peek()? != b'"' {
        return Ok(false);
    }
    scanner.string()?;
    scanner.finish()?;
    Ok(true)
}

/// The range of each top-level element of `args`, which is a list such as [`EventSkim::arguments`] without brackets.
///
/// Made for text that was validated; with any other text the iteration ends at the first thing that is not JSON.
/// Cost: one pass over the bytes for the whole iteration.
pub fn argument_bounds(args: &str) -> ArgumentBounds<'_> {
    let mut scanner = Scanner::new(args);
    scanner.whitespace();
    ArgumentBounds { scanner }
}

/// Iterator of [`argument_bounds`].
#[derive(Clone, Debug)]
pub struct ArgumentBounds<'a> {
    scanner: Scanner<'a>,
}

impl Iterator for ArgumentBounds<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let start = self.scanner.at;
        // The list stands inside one array already: depth 1.
        self.scanner.value(1).ok()?;
        let end = self.scanner.at;
        self.scanner.whitespace();
        if self.scanner.peek() == Ok(b',') {
            self.scanner.at += 1;
            self.scanner.whitespace();
        }
        Some(start..end)
    }
}

/// A cursor over JSON text. Its functions leave it behind what they accepted.
#[derive(Clone, Debug)]
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { bytes: text.as_bytes(), at: 0 }
    }

    pub(super) fn peek(&self) -> Result<u8, JsonError> {
        self.bytes.get(self.at).copied().ok_or(JsonError::UnexpectedEnd)
    }

    pub(super) fn whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    /// Passes a byte that has to stand here.
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.peek()? != byte {
            return Err(JsonError::UnexpectedByte);
        }
        self.at += 1;
        Ok(())
    }

    /// Only white space may be left.
    pub(super) fn finish(&mut self) -> Result<(), JsonError> {
        self.whitespace();
        if self.at == self.bytes.len() { Ok(()) } else { Err(JsonError::TrailingBytes) }
    }

    fn open_array(&mut self) -> Result<(), JsonError> {
        self.whitespace();
        if self.peek()? != b'[' {
            return Err(JsonError::NotAnArray);
        }
        self.at += 1;
        self.whitespace();
        if self.at == self.bytes.len() { Err(JsonError::UnexpectedEnd) } else { Ok(()) }
    }

    fn close_array(&mut self) -> Result<(), JsonError> {
        self.expect(b']')?;
        self.finish()
    }

    /// Passes one or more elements of the outermost array and stops before what is not a comma.
    fn elements(&mut self) -> Result<(Range<usize>, u32), JsonError> {
        self.whitespace();
        let start = self.at;
        let mut count = 0u32;
        loop {
            self.value(1)?;
            count = count.saturating_add(1);
            let end = self.at;
            self.whitespace();
            if self.peek()? != b',' {
                return Ok((start..end, count));
            }
            self.at += 1;
            self.whitespace();
        }
    }

    /// Passes one value of any kind. `outer_depth` containers are open around it.
    ///
    /// A loop with one bit per container opened here (1 = object) instead of a recursion: the depth costs no stack.
    pub(super) fn value(&mut self, outer_depth: u32) -> Result<(), JsonError> {
        const _: () = assert!(DEPTH_MAX <= u128::BITS);
        let mut depth = 0u32;
        let mut is_object = 0u128;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                opening @ (b'{' | b'[') => {
                    if outer_depth + depth >= DEPTH_MAX {
                        return Err(JsonError::TooDeep);
                    }
                    let object = opening == b'{';
                    self.at += 1;
                    self.whitespace();
                    if self.peek()? == if object { b'}' } else { b']' } {
                        self.at += 1;
                    } else {
                        depth += 1;
                        is_object = is_object << 1 | u128::from(object);
                        if object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                b'-' | b'0'..=b'9' => self.number()?,
                b't' => self.literal(b"true")?,
                b'f' => self.literal(b"false")?,
                b'n' => self.literal(b"null")?,
                _ => return Err(JsonError::UnexpectedByte),
            }
            // A value has ended: go on in the container around it, or close as many as end here.
            loop {
                if depth == 0 {
                    return Ok(());
                }
                self.whitespace();
                let object = is_object & 1 == 1;
                match self.peek()? {
                    b',' => {
                        self.at += 1;
                        self.whitespace();
                        if object {
                            self.key()?;
                        }
                        break;
                    }
                    b'}' if object => {}
                    b']' if !object => {}
                    _ => return Err(JsonError::UnexpectedByte),
                }
                self.at += 1;
                depth -= 1;
                is_object >>= 1;
            }
        }
    }

    /// Passes `"key" :` and the white space after it.
    fn key(&mut self) -> Result<(), JsonError> {
        if self.peek()? != b'"' {
            return Err(JsonError::UnexpectedByte);
        }
        self.string()?;
        self.whitespace();
        self.expect(b':')?;
        self.whitespace();
        Ok(())
    }

    /// Passes a string; the cursor stands on its opening quote. Says whether it has escapes.
    pub(super) fn string(&mut self) -> Result<bool, JsonError> {
        self.at += 1;
        let mut has_escapes = false;
        loop {
            self.at += plain_length(&self.bytes[self.at..]);
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Ok(has_escapes);
                }
                b'\\' => {
                    has_escapes = true;
                    self.escape()?;
                }
                _ => return Err(JsonError::ControlCharacter),
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        match self.peek()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                self.at += 1;
                Ok(())
            }
            b'u' => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek()?.is_ascii_hexdigit() {
                        return Err(JsonError::InvalidEscape);
                    }
                    self.at += 1;
                }
                Ok(())
            }
            _ => Err(JsonError::InvalidEscape),
        }
    }

    fn number(&mut self) -> Result<(), JsonError> {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        match self.peek()? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits()?,
            _ => return Err(JsonError::UnexpectedByte),
        }
        if self.peek() == Ok(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Ok(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Ok(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// Passes one digit or more.
    fn digits(&mut self) -> Result<(), JsonError> {
        if !self.peek()?.is_ascii_digit() {
            return Err(JsonError::UnexpectedByte);
        }
        while let Some(b'0'..=b'9') = self.bytes.get(self.at) {
            self.at += 1;
        }
        Ok(())
    }

    fn literal(&mut self, literal: &[u8]) -> Result<(), JsonError> {
        if !self.bytes[self.at..].starts_with(literal) {
            return Err(JsonError::UnexpectedByte);
        }
        self.at += literal.len();
        Ok(())
    }
}

/// How many bytes stand before the first quote, backslash or control character.
///
/// Most strings are short: the first 32 bytes go 8 at a time. Behind them whole blocks go 32 bytes per step, in a form that
/// compilers make vector instructions of.
#[inline]
fn plain_length(bytes: &[u8]) -> usize {
    let Some((first, rest)) = bytes.split_at_checked(32) else { return plain_words(bytes) };
    let length = plain_words(first);
    if length < first.len() {
        return length;
    }
    let (blocks, _) = rest.as_chunks::<32>();
    let is_plain = |block: &&[u8; 32]| !block.iter().fold(false, |found, &byte| found | is_special(byte));
    let skipped = first.len() + blocks.iter().take_while(is_plain).count() * 32;
    skipped + plain_words(&bytes[skipped..])
}

#[inline]
fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Eight bytes per step: in `(x - 01..) & !x & 80..` the lowest marked byte is the lowest zero byte of x, and likewise
/// `(w - 20..) & !w & 80..` marks bytes below 0x20. Only marks *above* the lowest can be wrong.
#[inline]
fn plain_words(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quote = word ^ (ONES * b'"' as u64);
        let backslash = word ^ (ONES * b'\\' as u64);
        let marks = ((quote.wrapping_sub(ONES) & !quote)
            | (backslash.wrapping_sub(ONES) & !backslash)
            | (word.wrapping_sub(ONES * 0x20) & !word))
            & HIGH;
        if marks != 0 {
            return index * 8 + marks.trailing_zeros() as usize / 8;
        }
    }
    let tail = rest.iter().position(|&byte| is_special(byte));
    bytes.len() - rest.len() + tail.unwrap_or(rest.len())
}

/// Resolves the escapes of a valid string's inside. A surrogate without its partner becomes U+FFFD.
pub(super) fn unescape(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(backslash) = rest.find('\\') {
        text.push_str(&rest[..backslash]);
        rest = &rest[backslash + 1..];
        let Some(kind) = rest.bytes().next() else {
            break;
        };
        if kind != b'u' {
            text.push(match kind {
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                other => char::from(other),
            });
            rest = rest.get(1..).unwrap_or("");
            continue;
        }
        let unit = hex_unit(rest);
        rest = rest.get(5..).unwrap_or("");
        let low = rest.strip_prefix('\\').map(hex_unit);
        if let (0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) = (unit, low) {
            let scalar = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            text.push(char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER));
            rest = rest.get(6..).unwrap_or("");
        } else {
            text.push(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
    }
    text.push_str(rest);
    text
}

/// The code unit of `uXXXX`; 0 for anything else.
fn hex_unit(escape: &str) -> u32 {
    escape
        .strip_prefix('u')
        .and_then(|digits| digits.get(..4))
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests;
