//! Finds its way through MessagePack without building values.
//!
//! [`Reader::head`] passes one head: a scalar with its bytes, or the head of a container, whose values follow. Lengths are
//! checked against what is there; counts need not be, because each value takes a byte at least.
//! The extension of type 0 is notepack.io's own, in three meanings by its form: `undefined`, a date, binary.

use super::MsgpackError;
use crate::socketio::json::DEPTH_MAX;
use core::ops::Range;
use rmp::Marker;

/// One value, or the head of one. Ranges are ranges of the reader's bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Head {
    Nil,
    /// Extension of type 0 in its form of one byte.
    Undefined,
    Bool(bool),
    /// From -2^63 to 2^64 - 1.
    Integer(i128),
    Float(f64),
    /// Perhaps not UTF-8.
    Text(Range<usize>),
    /// Bytes, or an extension of type 0 in one of its long forms: an ArrayBuffer.
    Binary(Range<usize>),
    /// Extension of type 0 in its form of eight bytes: milliseconds since 1970.
    Date(i64),
    /// Any other extension: its type and its bytes.
    Extension(i8, Range<usize>),
    /// This many values follow.
    Array(u32),
    /// This many pairs of a key and a value follow.
    Map(u32),
}

impl Head {
    /// The number if it has no fraction, whatever form it came in.
    pub(super) fn whole_number(&self) -> Option<i128> {
        match *self {
            Self::Integer(number) => Some(number),
            Self::Float(number) if number.fract() == 0.0 => Some(number as i128),
            _ => None,
        }
    }

    /// Whether this may stand where a container would have this depth, counted from 1.
    ///
    /// Depths are those of the JSON that this becomes: binary becomes an object, a foreign extension an array with
    /// binary in it.
    pub(super) fn check_depth(&self, depth: u32) -> Result<(), MsgpackError> {
        let deepest = match self {
            Self::Array(_) | Self::Map(_) | Self::Binary(_) => depth,
            Self::Extension(..) => depth + 1,
            _ => 0,
        };
        if deepest > DEPTH_MAX { Err(MsgpackError::PayloadTooDeep) } else { Ok(()) }
    }
}

/// A cursor over bytes. Its functions leave it behind what they accepted.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The bytes in a range that came out of this reader.
    pub(super) fn bytes(&self, range: Range<usize>) -> &'a [u8] {
        &self.bytes[range]
    }

    /// Passes one scalar, or the head of one container.
    pub(super) fn head(&mut self) -> Result<Head, MsgpackError> {
        let [marker] = self.array()?;
        Ok(match Marker::from_u8(marker) {
            Marker::Null => Head::Nil,
            Marker::False => Head::Bool(false),
            Marker::True => Head::Bool(true),
            Marker::FixPos(number) => Head::Integer(number.into()),
            Marker::FixNeg(number) => Head::Integer(number.into()),
            Marker::U8 => Head::Integer(u8::from_be_bytes(self.array()?).into()),
            Marker::U16 => Head::Integer(u16::from_be_bytes(self.array()?).into()),
            Marker::U32 => Head::Integer(u32::from_be_bytes(self.array()?).into()),
            Marker::U64 => Head::Integer(u64::from_be_bytes(self.array()?).into()),
            Marker::I8 => Head::Integer(i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => Head::Integer(i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => Head::Integer(i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => Head::Integer(i64::from_be_bytes(self.array()?).into()),
            Marker::F32 => Head::Float(f32::from_be_bytes(self.array()?).into()),
            Marker::F64 => Head::Float(f64::from_be_bytes(self.array()?)),
            Marker::FixStr(len) => Head::Text(self.range(len.into())?),
            Marker::Str8 => Head::Text(self.range_8()?),
            Marker::Str16 => Head::Text(self.range_16()?),
            Marker::Str32 => Head::Text(self.range_32()?),
            Marker::Bin8 => Head::Binary(self.range_8()?),
            Marker::Bin16 => Head::Binary(self.range_16()?),
            Marker::Bin32 => Head::Binary(self.range_32()?),
            Marker::FixArray(count) => Head::Array(count.into()),
            Marker::Array16 => Head::Array(u16::from_be_bytes(self.array()?).into()),
            Marker::Array32 => Head::Array(u32::from_be_bytes(self.array()?)),
            Marker::FixMap(count) => Head::Map(count.into()),
            Marker::Map16 => Head::Map(u16::from_be_bytes(self.array()?).into()),
            Marker::Map32 => Head::Map(u32::from_be_bytes(self.array()?)),
            Marker::FixExt1 => match self.extension(1)? {
                (0, _) => Head::Undefined,
                (kind, range) => Head::Extension(kind, range),
            },
            Marker::FixExt8 => match self.extension(8)? {
                (0, range) => {
                    self.at = range.start;
                    Head::Date(i64::from_be_bytes(self.array()?))
                }
                (kind, range) => Head::Extension(kind, range),
            },
            Marker::FixExt2 => self.extension(2).map(|(kind, range)| Head::Extension(kind, range))?,
            Marker::FixExt4 => self.extension(4).map(|(kind, range)| Head::Extension(kind, range))?,
            Marker::FixExt16 => self.extension(16).map(|(kind, range)| Head::Extension(kind, range))?,
            Marker::Ext8 => {
                let len = u8::from_be_bytes(self.array()?);
                self.long_extension(len.into())?
            }
            Marker::Ext16 => {
                let len = u16::from_be_bytes(self.array()?);
                self.long_extension(len.into())?
            }
            Marker::Ext32 => {
                let len = u32::from_be_bytes(self.array()?);
                self.long_extension(len)?
            }
            Marker::Reserved => return Err(MsgpackError::Malformed),
        })
    }

    /// Passes a map's key: text, or what JavaScript and JSON both have a plain text for.
    pub(super) fn key(&mut self) -> Result<Head, MsgpackError> {
        match self.head()? {
            key @ (Head::Text(_) | Head::Integer(_) | Head::Bool(_) | Head::Nil) => Ok(key),
            _ => Err(MsgpackError::Malformed),
        }
    }

    /// Passes one value of any kind and says what it began with. `depth` is that of a container here, from 1.
    pub(super) fn scalar(&mut self, depth: u32) -> Result<Head, MsgpackError> {
        let start = self.at;
        let head = self.head()?;
        self.at = start;
        self.value(depth)?;
        Ok(head)
    }

    /// Passes one value of any kind and counts the binary values in it. `depth` is that of a container here, from 1.
    ///
    /// Recursive, at most [`DEPTH_MAX`] deep.
    pub(super) fn value(&mut self, depth: u32) -> Result<u32, MsgpackError> {
        let head = self.head()?;
        head.check_depth(depth)?;
        let mut binary_count = 0u32;
        match head {
            Head::Binary(_) | Head::Extension(..) => binary_count = 1,
            Head::Array(count) => {
                for _ in 0..count {
                    binary_count = binary_count.saturating_add(self.value(depth + 1)?);
                }
            }
            Head::Map(count) => {
                for _ in 0..count {
                    self.key()?;
                    binary_count = binary_count.saturating_add(self.value(depth + 1)?);
                }
            }
            _ => {}
        }
        Ok(binary_count)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MsgpackError> {
        let bytes = self.bytes[self.at..].first_chunk().ok_or(MsgpackError::Malformed)?;
        self.at += N;
        Ok(*bytes)
    }

    fn range(&mut self, len: u32) -> Result<Range<usize>, MsgpackError> {
        let len = usize::try_from(len).map_err(|_| MsgpackError::Malformed)?;
        if len > self.bytes.len() - self.at {
            return Err(MsgpackError::Malformed);
        }
        let start = self.at;
        self.at += len;
        Ok(start..self.at)
    }

    fn range_8(&mut self) -> Result<Range<usize>, MsgpackError> {
        let len = u8::from_be_bytes(self.array()?);
        self.range(len.into())
    }

    fn range_16(&mut self) -> Result<Range<usize>, MsgpackError> {
        let len = u16::from_be_bytes(self.array()?);
        self.range(len.into())
    }

    fn range_32(&mut self) -> Result<Range<usize>, MsgpackError> {
        let len = u32::from_be_bytes(self.array()?);
        self.range(len)
    }

    fn extension(&mut self, len: u32) -> Result<(i8, Range<usize>), MsgpackError> {
        let kind = i8::from_be_bytes(self.array()?);
        Ok((kind, self.range(len)?))
    }

    fn long_extension(&mut self, len: u32) -> Result<Head, MsgpackError> {
        Ok(match self.extension(len)? {
            (0, range) => Head::Binary(range),
            (kind, range) => Head::Extension(kind, range),
        })
    }
}
