//! `Sec-WebSocket-Extensions`: what a client offers, and what a server makes of it.
//!
//! ```text
//! permessage-deflate; client_max_window_bits, permessage-deflate     two offers of one extension, the first preferred
//! permessage-deflate; server_no_context_takeover; client_max_window_bits=10                            the answer
//! ```
//!
//! The grammar is read as the npm package `ws` 8 reads it: no empty list items, no white space around `=`, quoted values
//! only of token characters. One pass, every part borrowed, counts bounded: names are compared and never looked up
//! in anything, so `constructor` or `__proto__` is a name like any other.
//! Of extensions only permessage-deflate is known. As in `ws`, all its offers have to be valid, even those that are not
//! chosen; stricter than there, numbers are plain decimal digits.
//! Source: RFC 6455 section 9.1, RFC 7692 sections 5 and 7.1.

use crate::http::is_token_byte;
use core::fmt;
use smallvec::SmallVec;
use std::borrow::Cow;

/// The most extensions that one request may offer.
pub const OFFER_COUNT_MAX: usize = 32;

/// The most parameters that one offer may have. The known ones are four.
pub const PARAMETER_COUNT_MAX: usize = 16;

/// The name of the only extension that is known.
const PERMESSAGE_DEFLATE: &str = "permessage-deflate";

/// One extension of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Its name, as sent.
    pub name: &'a str,
    /// Its parameters, in order, repeated ones included.
    pub parameters: SmallVec<[Parameter<'a>; 2]>,
}

/// One parameter of an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// Its name, as sent.
    pub name: &'a str,
    /// Its value without quotes and backslashes; `None` if there is no `=`.
    pub value: Option<Cow<'a, str>>,
}

/// Why a list of extensions cannot be answered. `ws` refuses the handshake with status 400 for any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtensionError {
    /// Not the grammar of the header.
    Malformed,
    /// More than [`OFFER_COUNT_MAX`] extensions, or more than [`PARAMETER_COUNT_MAX`] parameters in one.
    TooMany,
    /// permessage-deflate with a parameter that it does not have.
    UnknownParameter,
    /// permessage-deflate with a parameter given twice.
    RepeatedParameter,
    /// permessage-deflate with a value that its parameter cannot have, or without one that it must have.
    InvalidValue,
    /// permessage-deflate is offered, and every offer is one that the options rule out.
    NoneAcceptable,
}

impl fmt::Display for ExtensionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed Sec-WebSocket-Extensions",
            Self::TooMany => "too many extensions or parameters",
            Self::UnknownParameter => "unknown parameter of permessage-deflate",
            Self::RepeatedParameter => "repeated parameter of permessage-deflate",
            Self::InvalidValue => "invalid value of a permessage-deflate parameter",
            Self::NoneAcceptable => "no acceptable offer of permessage-deflate",
        })
    }
}

impl core::error::Error for ExtensionError {}

/// Decodes the value of one header field.
///
/// Cost: one pass; only values with a backslash are copied.
pub fn decode(value: &[u8]) -> Result<Vec<Extension<'_>>, ExtensionError> {
    // Every character that may occur is ASCII.
    let text = std::str::from_utf8(value).map_err(|_| ExtensionError::Malformed)?;
    let mut cursor = Cursor { text, at: 0 };
    let mut extensions = Vec::new();
    loop {
        if extensions.len() == OFFER_COUNT_MAX {
            return Err(ExtensionError::TooMany);
        }
        let mut extension = Extension { name: cursor.token()?, parameters: SmallVec::new() };
        cursor.white_space();
        while cursor.pass(b';') {
            if extension.parameters.len() == PARAMETER_COUNT_MAX {
                return Err(ExtensionError::TooMany);
            }
            cursor.white_space();
            extension.parameters.push(cursor.parameter()?);
            cursor.white_space();
        }
        extensions.push(extension);
        if !cursor.pass(b',') {
            break;
        }
        cursor.white_space();
    }
    // White space at the end belongs to the field, not to its value.
    if cursor.at < text.len() || text.ends_with([' ', '\t']) {
        return Err(ExtensionError::Malformed);
    }
    Ok(extensions)
}

/// A place in a header's value.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Passes this byte if it stands here.
    fn pass(&mut self, byte: u8) -> bool {
        let is_here = self.peek() == Some(byte);
        self.at += usize::from(is_here);
        is_here
    }

    fn white_space(&mut self) {
        while let Some(b' ' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn token(&mut self) -> Result<&'a str, ExtensionError> {
        let start = self.at;
        while self.peek().is_some_and(is_token_byte) {
            self.at += 1;
        }
        if self.at == start { Err(ExtensionError::Malformed) } else { Ok(&self.text[start..self.at]) }
    }

    fn parameter(&mut self) -> Result<Parameter<'a>, ExtensionError> {
        let name = self.token()?;
        let value = if !self.pass(b'=') {
            None
        } else if self.pass(b'"') {
            Some(self.quoted()?)
        } else {
            Some(Cow::Borrowed(self.token()?))
        };
        Ok(Parameter { name, value })
    }

    /// What stands between the quotes; the first one is passed. It has to be a token when its backslashes are gone.
    fn quoted(&mut self) -> Result<Cow<'a, str>, ExtensionError> {
        let start = self.at;
        let mut has_escapes = false;
        loop {
            match self.peek().ok_or(ExtensionError::Malformed)? {
                b'"' if self.at > start => break,
                b'\\' => {
                    has_escapes = true;
                    self.at += 1;
                    if !self.peek().is_some_and(is_token_byte) {
                        return Err(ExtensionError::Malformed);
                    }
                }
                byte if is_token_byte(byte) => {}
                _ => return Err(ExtensionError::Malformed),
            }
            self.at += 1;
        }
        let raw = &self.text[start..self.at];
        self.at += 1;
        Ok(if has_escapes { Cow::Owned(raw.replace('\\', "")) } else { Cow::Borrowed(raw) })
    }
}

/// The size of a compressor's window, as its base-2 logarithm: 8 to 15, for 256 to 32,768 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WindowBits(u8);

impl WindowBits {
    /// The largest window: 32,768 bytes.
    pub const MAX: Self = Self(15);

    /// `None` unless it is one of 8 to 15.
    pub const fn new(bits: u8) -> Option<Self> {
        if bits >= 8 && bits <= 15 { Some(Self(bits)) } else { None }
    }

    /// The logarithm.
    pub const fn get(self) -> u8 {
        self.0
    }

    fn decode(value: &str) -> Result<Self, ExtensionError> {
        match value {
            "8" => Ok(Self(8)),
            "9" => Ok(Self(9)),
            _ => match value.as_bytes() {
                &[b'1', digit @ b'0'..=b'5'] => Ok(Self(10 + digit - b'0')),
                _ => Err(ExtensionError::InvalidValue),
            },
        }
    }
}

/// What a server wants of permessage-deflate. The names and the defaults are those of `ws`: whatever the client offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeflateOptions {
    /// Whether the server forgets its window after each message, so that all connections can share one compressor and
    /// one compressed broadcast. `Some(true)`: always. `Some(false)`: an offer that asks for it is not accepted.
    /// Default `None`: if the client asks.
    pub server_no_context_takeover: Option<bool>,
    /// Whether clients are told to forget theirs, so that a connection needs no window of its own to read them.
    /// Default `false`: if the client says so itself.
    pub client_no_context_takeover: bool,
    /// The largest window that the server uses. `None`, the default: the largest that the client allows.
    /// An offer that allows only a smaller one than this is not accepted.
    pub server_max_window_bits: Option<WindowBits>,
    /// The largest window that clients may use. `None`, the default: any. An offer that does not say that the client
    /// can be told (RFC 7692 section 7.1.2.2), or that names a smaller one itself, is not accepted with it.
    pub client_max_window_bits: Option<WindowBits>,
}

/// permessage-deflate as agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeflateParameters {
    /// Each message of the server can be inflated without the ones before it.
    pub server_no_context_takeover: bool,
    /// Each message of the client can be inflated without the ones before it.
    pub client_no_context_takeover: bool,
    /// The largest window that the server may use; `None` is 15.
    pub server_max_window_bits: Option<WindowBits>,
    /// The largest window that the client may use; `None` is 15.
    pub client_max_window_bits: Option<WindowBits>,
}

impl DeflateParameters {
    /// Appends the value of the answer's `Sec-WebSocket-Extensions`.
    pub fn write(&self, out: &mut String) {
        out.push_str(PERMESSAGE_DEFLATE);
        if self.server_no_context_takeover {
            out.push_str("; server_no_context_takeover");
        }
        if self.client_no_context_takeover {
            out.push_str("; client_no_context_takeover");
        }
        let limits = [
            ("; server_max_window_bits=", self.server_max_window_bits),
            ("; client_max_window_bits=", self.client_max_window_bits),
        ];
        for (name, bits) in limits {
            if let Some(bits) = bits {
                out.push_str(name);
                out.push_str(&bits.get().to_string());
            }
        }
    }

    /// Whether `ws` would compress a message of this size: with context takeover every one, because short messages
    /// repeat what came before them; without it those of `threshold_bytes` and more (1024 by default).
    pub const fn is_worth_compressing(&self, message_bytes: usize, threshold_bytes: usize) -> bool {
        !self.server_no_context_takeover || message_bytes >= threshold_bytes
    }
}

/// Answers what a client offers in its fields `Sec-WebSocket-Extensions`, given by their values.
///
/// `Ok(None)` if permessage-deflate is not among it: the handshake goes on without. Of several offers the first that
/// can be accepted counts.
pub fn negotiate<'a>(
    values: impl Iterator<Item = &'a [u8]>,
    options: &DeflateOptions,
) -> Result<Option<DeflateParameters>, ExtensionError> {
    let mut is_offered = false;
    let mut accepted = None;
    for value in values {
        for extension in decode(value)?.iter().filter(|extension| extension.name == PERMESSAGE_DEFLATE) {
            let offer = DeflateOffer::decode(&extension.parameters)?;
            is_offered = true;
            accepted = accepted.or_else(|| offer.accept(options));
        }
    }
    if is_offered && accepted.is_none() {
        return Err(ExtensionError::NoneAcceptable);
    }
    Ok(accepted)
}

/// One offer of permessage-deflate.
#[derive(Clone, Copy, Debug, Default)]
struct DeflateOffer {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<WindowBits>,
    client_max_window_bits: ClientWindow,
}

/// What a client says about its own window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ClientWindow {
    /// Nothing: it uses the largest and cannot be told otherwise.
    #[default]
    Fixed,
    /// It can be told.
    Adjustable,
    /// It can be told, and will not use a larger one than this.
    AtMost(WindowBits),
}

impl DeflateOffer {
    fn decode(parameters: &[Parameter<'_>]) -> Result<Self, ExtensionError> {
        let mut offer = Self::default();
        for (index, Parameter { name, value }) in parameters.iter().enumerate() {
            if parameters[..index].iter().any(|earlier| earlier.name == *name) {
                return Err(ExtensionError::RepeatedParameter);
            }
            match (*name, value) {
                ("server_no_context_takeover", None) => offer.server_no_context_takeover = true,
                ("client_no_context_takeover", None) => offer.client_no_context_takeover = true,
                ("server_max_window_bits", Some(bits)) => {
                    offer.server_max_window_bits = Some(WindowBits::decode(bits)?);
                }
                ("client_max_window_bits", None) => offer.client_max_window_bits = ClientWindow::Adjustable,
                ("client_max_window_bits", Some(bits)) => {
                    offer.client_max_window_bits = ClientWindow::AtMost(WindowBits::decode(bits)?);
                }
                ("server_no_context_takeover" | "client_no_context_takeover" | "server_max_window_bits", _) => {
                    return Err(ExtensionError::InvalidValue);
                }
                _ => return Err(ExtensionError::UnknownParameter),
            }
        }
        Ok(offer)
    }

    fn accept(&self, options: &DeflateOptions) -> Option<DeflateParameters> {
        if self.server_no_context_takeover && options.server_no_context_takeover == Some(false) {
            return None;
        }
        let server_max_window_bits = match (options.server_max_window_bits, self.server_max_window_bits) {
            (Some(wanted), Some(allowed)) if wanted > allowed => return None,
            (wanted, allowed) => wanted.or(allowed),
        };
        let client_max_window_bits = match (options.client_max_window_bits, self.client_max_window_bits) {
            (Some(_), ClientWindow::Fixed) => return None,
            (Some(wanted), ClientWindow::AtMost(own)) if wanted > own => return None,
            (Some(wanted), _) => Some(wanted),
            (None, ClientWindow::AtMost(own)) => Some(own),
            (None, _) => None,
        };
        Some(DeflateParameters {
            server_no_context_takeover: self.server_no_context_takeover
                || options.server_no_context_takeover == Some(true),
            client_no_context_takeover: self.client_no_context_takeover || options.client_no_context_takeover,
            server_max_window_bits,
            client_max_window_bits,
        })
    }
}

#[cfg(test)]
mod tests;
