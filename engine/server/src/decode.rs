//! From the raw JSON of an event to the types a handler asks for.
//!
//! ```text
//! arguments   1,{"a":2},"x"        raw, validated by the core, without the brackets
//! Data<T>     ^                    the first one; all of them if T is a tuple
//! Args<T>     ^ ^^^^^^^ ^^^        all of them
//! ```
//! Missing arguments count as `null`, surplus ones are ignored: clients of another version may send fewer or more.
//! Large arguments are parsed by simd-json. Where it fails, serde_json parses again and its word counts: it knows some
//! types that simd-json does not (`RawValue`), and gives the error that small arguments would give. One difference is
//! left: simd-json reads `-0` as 0.

use crate::attachments::WithAttachments;
use crate::encode::{is_tuple, is_unit};
use crate::error::ArgumentError;
use bytes::Bytes;
use ringio_codec::socketio::json::{ArgumentBounds, argument_bounds};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use std::cell::Cell;

/// Arguments from this size on are parsed by simd-json, smaller ones by serde_json, whose start costs less. Bytes.
pub(crate) const SIMD_JSON_BYTES_MIN: usize = 1024;

/// A scratch buffer larger than this is not kept. Bytes.
const SCRATCH_BYTES_KEPT: usize = 1 << 18;

/// The arguments of an event or acknowledgement, as they lie in the received bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arguments<'a> {
    /// `1,{"a":2}`: validated JSON values with commas between them.
    pub(crate) json: &'a [u8],
    /// How many they are.
    pub(crate) count: u32,
    /// What their placeholders refer to.
    pub(crate) attachments: &'a [Bytes],
}

impl<'a> Arguments<'a> {
    pub(crate) const NONE: Self = Self { json: &[], count: 0, attachments: &[] };

    /// The first argument as a `T`, or all of them if `T` is a tuple.
    pub(crate) fn data<T: DeserializeOwned>(&self) -> Result<T, ArgumentError> {
        if is_tuple::<T>() {
            return self.all();
        }
        value(self.nth(0), self.attachments)
    }

    /// All arguments as a tuple or a list.
    pub(crate) fn all<T: DeserializeOwned>(&self) -> Result<T, ArgumentError> {
        if !is_unit::<T>() && self.attachments.is_empty() && self.json.len() >= SIMD_JSON_BYTES_MIN {
            let parsed = simd(&[b"[", self.json, b"]"]);
            if let Some(parsed) = parsed {
                return Ok(parsed);
            }
        }
        T::deserialize(ArgumentList { bounds: argument_bounds(self.text()), arguments: *self, missing_is_null: false })
            .map_err(|error| ArgumentError::mismatch::<T>(&error))
    }

    /// The raw JSON of the argument at `index`, counted from 0; `null` if there is none.
    pub(crate) fn nth(&self, index: usize) -> &'a [u8] {
        match (index, self.count) {
            (0, 1) => self.json,
            (_, 0) => b"null",
            _ => argument_bounds(self.text()).nth(index).map_or(b"null", |bounds| &self.json[bounds]),
        }
    }

    /// Without the first `count` arguments.
    pub(crate) fn skip(&self, count: u32) -> Self {
        if count >= self.count {
            return Self { json: &[], count: 0, attachments: self.attachments };
        }
        let start = argument_bounds(self.text()).nth(count as usize).map_or(self.json.len(), |bounds| bounds.start);
        Self { json: &self.json[start..], count: self.count - count, attachments: self.attachments }
    }

    fn text(&self) -> &'a str {
        std::str::from_utf8(self.json).expect("the core hands on validated JSON only")
    }
}

/// One JSON value as a `T`, bytes taken from `attachments`.
pub(crate) fn value<T: DeserializeOwned>(json: &[u8], attachments: &[Bytes]) -> Result<T, ArgumentError> {
    let decoded = if attachments.is_empty() {
        if json.len() >= SIMD_JSON_BYTES_MIN
            && let Some(parsed) = simd(&[json])
        {
            return Ok(parsed);
        }
        serde_json::from_slice(json)
    } else {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        T::deserialize(WithAttachments { inner: &mut deserializer, attachments })
            .and_then(|decoded| deserializer.end().map(|()| decoded))
    };
    decoded.map_err(|error| ArgumentError::mismatch::<T>(&error))
}

#[derive(Default)]
struct Scratch {
    json: Vec<u8>,
    buffers: simd_json::Buffers,
}

thread_local! {
    // Taken out while in use, so a `Deserialize` that decodes something itself finds another one.
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// The joined `pieces` by simd-json, which changes its input: so it gets a copy. None if it does not succeed.
fn simd<T: DeserializeOwned>(pieces: &[&[u8]]) -> Option<T> {
    let mut scratch = SCRATCH.take().unwrap_or_default();
    for piece in pieces {
        scratch.json.extend_from_slice(piece);
    }
    let Scratch { json, buffers } = &mut *scratch;
    let parsed = simd_json::serde::from_slice_with_buffers(json, buffers).ok();
    if json.len() <= SCRATCH_BYTES_KEPT {
        json.clear();
        SCRATCH.set(Some(scratch));
    }
    parsed
}

/// The arguments as a deserializer: a sequence that goes on with `null` after its end if a tuple asks.
struct ArgumentList<'a> {
    bounds: ArgumentBounds<'a>,
    arguments: Arguments<'a>,
    missing_is_null: bool,
}

impl<'de> Deserializer<'de> for ArgumentList<'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_seq(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(mut self, _len: usize, visitor: V) -> Result<V::Value, Self::Error> {
        self.missing_is_null = true;
        visitor.visit_seq(self)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit_struct
        seq map struct enum identifier ignored_any
    }
}

impl<'de> SeqAccess<'de> for ArgumentList<'de> {
    type Error = serde_json::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Self::Error> {
        let json = match self.bounds.next() {
            Some(bounds) => {
                self.arguments.json.get(bounds).ok_or_else(|| Self::Error::custom("bounds beyond the arguments"))?
            }
            None if self.missing_is_null => b"null",
            None => return Ok(None),
        };
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        if self.arguments.attachments.is_empty() {
            seed.deserialize(&mut deserializer).map(Some)
        } else {
            seed.deserialize(WithAttachments { inner: &mut deserializer, attachments: self.arguments.attachments })
                .map(Some)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::Value;
    use serde_json::value::RawValue;

    fn arguments(json: &str, count: u32) -> Arguments<'_> {
        Arguments { json: json.as_bytes(), count, attachments: &[] }
    }

    #[test]
    fn data_is_the_first_argument_and_a_tuple_is_all() {
        let three = arguments(r#"1, {"a":[2,3]} ,"x""#, 3);
        assert_eq!(three.data::<u8>().unwrap(), 1);
        assert_eq!(three.data::<(u8, Value, String)>().unwrap(), (1, serde_json::json!({"a": [2, 3]}), "x".to_owned()));
        three.data::<()>().unwrap();
        let list = arguments("[1,2]", 1);
        assert_eq!(list.data::<[u8; 2]>().unwrap(), [1, 2]);
        assert_eq!(list.data::<Vec<u8>>().unwrap(), [1, 2]);
        assert_eq!(list.data::<((u8, u8),)>().unwrap(), ((1, 2),));
    }

    #[test]
    fn missing_arguments_are_null_and_surplus_ones_ignored() {
        assert_eq!(arguments("", 0).data::<Option<u8>>().unwrap(), None);
        assert!(arguments("", 0).data::<u8>().is_err());
        assert_eq!(arguments("1", 1).data::<(u8, Option<u8>)>().unwrap(), (1, None));
        assert!(arguments("1", 1).data::<(u8, u8)>().is_err());
        assert_eq!(arguments("1,2,3", 3).data::<(u8, u8)>().unwrap(), (1, 2));
        assert_eq!(arguments("1,2,3", 3).data::<u8>().unwrap(), 1);
    }

    #[test]
    fn all_arguments_fit_a_list() {
        assert_eq!(arguments("1,2,3", 3).all::<Vec<u8>>().unwrap(), [1, 2, 3]);
        assert!(arguments("", 0).all::<Vec<u8>>().unwrap().is_empty());
        assert!(arguments("1,\"x\"", 2).all::<Vec<u8>>().is_err());
    }

    #[test]
    fn attachments_reach_every_argument() {
        let attachments = [Bytes::from_static(b"a"), Bytes::from_static(b"b")];
        let json = r#"{"_placeholder":true,"num":1},[{"_placeholder":true,"num":0}]"#;
        let both = Arguments { json: json.as_bytes(), count: 2, attachments: &attachments };
        let (second, [first]) = both.data::<(Bytes, [Bytes; 1])>().unwrap();
        assert_eq!((first, second), (attachments[0].clone(), attachments[1].clone()));
        assert_eq!(both.data::<Bytes>().unwrap(), attachments[1]);
    }

    #[test]
    fn skipping_leaves_the_rest() {
        let three = arguments("1, [2,3] ,4", 3);
        assert_eq!(three.skip(0).all::<Value>().unwrap(), serde_json::json!([1, [2, 3], 4]));
        assert_eq!(three.skip(1).all::<Value>().unwrap(), serde_json::json!([[2, 3], 4]));
        assert_eq!(three.skip(2).data::<u8>().unwrap(), 4);
        assert_eq!(three.skip(3).count, 0);
        assert_eq!(three.skip(9).all::<Vec<Value>>().unwrap(), Vec::<Value>::new());
    }

    #[test]
    fn both_parsers_give_the_same() {
        let long = "ü\\u00e9\\n".repeat(SIMD_JSON_BYTES_MIN);
        let json = format!("[-1,1.25e3,18446744073709551615,\"{long}\",{{\"k\":null,\"l\":[true,false]}}]");
        let parsed: Value = value(json.as_bytes(), &[]).unwrap();
        assert!(parsed == serde_json::from_str::<Value>(&json).unwrap());
        assert!(simd::<Value>(&[json.as_bytes()]).is_some(), "the large one is parsed by simd-json");
    }

    #[test]
    fn large_arguments_fit_what_small_ones_fit() {
        let padding = "x".repeat(SIMD_JSON_BYTES_MIN);
        let text = format!("\"{padding}\"");
        assert_eq!(value::<Box<RawValue>>(text.as_bytes(), &[]).unwrap().get(), text);
        let json = format!("{text},7");
        assert_eq!(arguments(&json, 2).data::<(String, u8)>().unwrap(), (padding.clone(), 7));
        assert_eq!(arguments(&json, 2).data::<(String, u8, Option<u8>)>().unwrap(), (padding.clone(), 7, None));
        assert_eq!(arguments(&json, 2).data::<(String,)>().unwrap(), (padding,));
        assert!(arguments(&json, 2).data::<(String, String)>().is_err());
    }
}
