//! Puts attachments back where their placeholders stand.
//!
//! A deserializer around another one: where a type asks for bytes and finds `{"_placeholder":true,"num":N}`, it gets
//! attachment N. Everything else passes through. Only used for events that have attachments. A type that takes
//! anything (`serde_json::Value`, untagged enums) does not ask for bytes and sees the placeholder object.

use bytes::Bytes;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use std::borrow::Cow;
use std::fmt;

/// Anything of serde's (deserializer, visitor, access, seed) and the attachments that go with it.
pub(crate) struct WithAttachments<'b, T> {
    pub(crate) inner: T,
    pub(crate) attachments: &'b [Bytes],
}

impl<'b, T> WithAttachments<'b, T> {
    fn wrap<U>(&self, inner: U) -> WithAttachments<'b, U> {
        WithAttachments { inner, attachments: self.attachments }
    }
}

macro_rules! pass_deserialize {
    ($($method:ident($($argument:ident: $type:ty),*))*) => {
        $(fn $method<V: Visitor<'de>>(self $(, $argument: $type)*, visitor: V) -> Result<V::Value, D::Error> {
            let visitor = self.wrap(visitor);
            self.inner.$method($($argument,)* visitor)
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for WithAttachments<'_, D> {
    type Error = D::Error;

    pass_deserialize! {
        deserialize_any() deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64()
        deserialize_i128() deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64() deserialize_char() deserialize_str() deserialize_string()
        deserialize_option() deserialize_unit() deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str) deserialize_seq() deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize) deserialize_map()
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
        deserialize_identifier() deserialize_ignored_any()
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = BytesVisitor(self.wrap(visitor));
        self.inner.deserialize_any(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_bytes(visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! pass_visit {
    ($($method:ident($type:ty))*) => {
        $(fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for WithAttachments<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    pass_visit! {
        visit_bool(bool) visit_i64(i64) visit_i128(i128) visit_u64(u64) visit_u128(u128) visit_f64(f64)
        visit_str(&str) visit_borrowed_str(&'de str) visit_string(String)
        visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let deserializer = self.wrap(deserializer);
        self.inner.visit_some(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let deserializer = self.wrap(deserializer);
        self.inner.visit_newtype_struct(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let access = self.wrap(access);
        self.inner.visit_seq(access)
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let access = self.wrap(access);
        self.inner.visit_map(access)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let access = self.wrap(access);
        self.inner.visit_enum(access)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for WithAttachments<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let deserializer = self.wrap(deserializer);
        self.inner.deserialize(deserializer)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for WithAttachments<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let seed = self.wrap(seed);
        self.inner.next_element_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for WithAttachments<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.inner.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.wrap(seed);
        self.inner.next_value_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'b, 'de, A: EnumAccess<'de>> EnumAccess<'de> for WithAttachments<'b, A> {
    type Error = A::Error;
    type Variant = WithAttachments<'b, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let attachments = self.attachments;
        let (value, inner) = self.inner.variant_seed(seed)?;
        Ok((value, WithAttachments { inner, attachments }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for WithAttachments<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.wrap(seed);
        self.inner.newtype_variant_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = self.wrap(visitor);
        self.inner.tuple_variant(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.wrap(visitor);
        self.inner.struct_variant(fields, visitor)
    }
}

/// For a type that wants bytes: what comes may be a placeholder, or what serde_json takes for bytes otherwise.
struct BytesVisitor<'b, V>(WithAttachments<'b, V>);

impl<'de, V: Visitor<'de>> Visitor<'de> for BytesVisitor<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an attachment")
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<V::Value, E> {
        self.0.inner.visit_bytes(value.as_bytes())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.0.inner.visit_seq(access)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<V::Value, A::Error> {
        let mut is_placeholder = false;
        let mut index = None;
        while let Some(key) = access.next_key::<Cow<'de, str>>()? {
            match &*key {
                "_placeholder" => is_placeholder = access.next_value()?,
                "num" => index = Some(access.next_value::<usize>()?),
                _ => {
                    access.next_value::<IgnoredAny>()?;
                }
            }
        }
        let attachment = index.filter(|_| is_placeholder).and_then(|index| self.0.attachments.get(index));
        match attachment {
            Some(bytes) => self.0.inner.visit_bytes(bytes),
            None => Err(A::Error::custom("expected an attachment, found an object that is no placeholder")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::decode;
    use bytes::Bytes;
    use serde::Deserialize;

    const ONE: &str = r#"{"_placeholder":true,"num":0}"#;
    const TWO: &str = r#"{"num":1,"_placeholder":true}"#;

    fn attachments() -> [Bytes; 2] {
        [Bytes::from_static(b"one"), Bytes::from_static(b"\xfftwo")]
    }

    fn decoded<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, crate::ArgumentError> {
        decode::value(json.as_bytes(), &attachments())
    }

    #[derive(Debug, PartialEq, Deserialize)]
    enum Part {
        Raw(Bytes),
        Named { data: Bytes, size: Option<u32> },
        Pair(u8, Bytes),
        Nothing,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Wrapped(Bytes);

    #[test]
    fn bytes_come_back_wherever_they_stand() {
        let [one, two] = attachments();
        assert_eq!(decoded::<Bytes>(ONE).unwrap(), one);
        assert_eq!(decoded::<Wrapped>(TWO).unwrap(), Wrapped(two.clone()));
        assert_eq!(
            decoded::<Vec<Option<Bytes>>>(&format!("[{TWO},null,{ONE}]")).unwrap(),
            [Some(two.clone()), None, Some(one.clone())]
        );
        assert_eq!(decoded::<Part>(&format!("{{\"Raw\":{ONE}}}")).unwrap(), Part::Raw(one.clone()));
        assert_eq!(
            decoded::<Part>(&format!("{{\"Named\":{{\"size\":3,\"data\":{TWO}}}}}")).unwrap(),
            Part::Named { data: two.clone(), size: Some(3) }
        );
        assert_eq!(decoded::<Part>(&format!("{{\"Pair\":[7,{ONE}]}}")).unwrap(), Part::Pair(7, one));
        assert_eq!(decoded::<Part>("\"Nothing\"").unwrap(), Part::Nothing);
        let map = decoded::<std::collections::BTreeMap<String, Bytes>>(&format!("{{\"k\":{TWO}}}")).unwrap();
        assert_eq!(map["k"], two);
    }

    #[test]
    fn everything_else_passes_through() {
        assert_eq!(
            decoded::<(bool, i8, u64, f64, char, String)>("[true,-1,7,1.5,\"c\",\"text\"]").unwrap(),
            (true, -1, 7, 1.5, 'c', "text".to_owned())
        );
        assert_eq!(decoded::<serde_json::Value>(ONE).unwrap(), serde_json::json!({"_placeholder": true, "num": 0}));
        assert_eq!(decoded::<Box<serde_json::value::RawValue>>("[ 1 ]").unwrap().get(), "[ 1 ]");
        assert_eq!(decoded::<Bytes>("\"text\"").unwrap(), "text");
        assert_eq!(decoded::<Bytes>("[1,2]").unwrap(), [1_u8, 2][..]);
    }

    #[test]
    fn what_is_no_placeholder_is_no_bytes() {
        for json in [
            "{}",
            r#"{"num":0}"#,
            r#"{"_placeholder":false,"num":0}"#,
            r#"{"_placeholder":true,"num":2}"#,
            r#"{"_placeholder":true,"num":-1}"#,
            "7",
            "null",
        ] {
            assert!(decoded::<Bytes>(json).is_err(), "{json}");
        }
    }
}
