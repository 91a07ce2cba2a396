//! What a packet carries: JSON, and the attachments that its placeholders refer to.
//!
//! ```text
//! ["e",{"_placeholder":true,"num":0}] + [bytes]    <--from_value, to_value, Serialize-->    ["e", bytes]
//! ```

use crate::decode;
use crate::encode::append_value;
use crate::error::ArgumentError;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, SerializeMap, SerializeSeq, Serializer};
use std::borrow::Cow;
use std::fmt;

/// What a packet carries, on its way between handlers and a parser.
///
/// Serializing it writes the value with bytes where attachments belong, in the order of the JSON's keys.
///
/// ```
/// use ringio::Bytes;
/// use ringio::parser::Payload;
///
/// let payload = Payload::from_value(&("upload", Bytes::from_static(b"abc")))?;
/// assert_eq!(payload.json(), r#"["upload",{"_placeholder":true,"num":0}]"#);
/// assert_eq!(payload.attachments(), [Bytes::from_static(b"abc")]);
/// assert_eq!(Payload::from_json("[1,2]", &[]).to_value::<(u8, u8)>(), Ok((1, 2)));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload<'a> {
    json: Cow<'a, str>,
    attachments: Cow<'a, [Bytes]>,
}

impl<'a> Payload<'a> {
    /// A payload of JSON, with the attachments that placeholders in it, `{"_placeholder":true,"num":0}`, refer to.
    ///
    /// It need not be valid: what a decoder pushes is checked.
    pub fn from_json(json: impl Into<Cow<'a, str>>, attachments: impl Into<Cow<'a, [Bytes]>>) -> Self {
        Self { json: json.into(), attachments: attachments.into() }
    }

    /// A payload of any value; bytes in it become attachments.
    ///
    /// # Errors
    /// The value cannot be JSON: a map has a key that is neither text nor a number, true or false.
    pub fn from_value<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        let mut attachments = Vec::new();
        let json = append_value(Vec::new(), &mut attachments, value)?;
        let json = String::from_utf8(json).expect("serde_json writes UTF-8");
        Ok(Self { json: Cow::Owned(json), attachments: Cow::Owned(attachments) })
    }

    /// The JSON, attachments as placeholders.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The attachments, in the order of their numbers.
    #[must_use]
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// The value as a `T`, attachments as bytes.
    ///
    /// # Errors
    /// It is no `T`.
    pub fn to_value<T: DeserializeOwned>(&self) -> Result<T, ArgumentError> {
        decode::value(self.json.as_bytes(), &self.attachments)
    }

    pub(super) fn into_parts(self) -> (String, Vec<Bytes>) {
        (self.json.into_owned(), self.attachments.into_owned())
    }
}

impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tree: Tree = serde_json::from_str(&self.json).map_err(S::Error::custom)?;
        WithBytes { tree: &tree, attachments: &self.attachments }.serialize(serializer)
    }
}

/// JSON in memory, with its keys in their order.
enum Tree {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Signed(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = access.next_element()? {
            list.push(element);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = access.next_entry()? {
            map.push(entry);
        }
        Ok(Tree::Map(map))
    }
}

struct WithBytes<'a> {
    tree: &'a Tree,
    attachments: &'a [Bytes],
}

impl WithBytes<'_> {
    fn of<'a>(&'a self, tree: &'a Tree) -> WithBytes<'a> {
        WithBytes { tree, attachments: self.attachments }
    }

    /// The attachment that an object stands for.
    fn attachment(&self, map: &[(String, Tree)]) -> Option<&Bytes> {
        let value = |name: &str| map.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value);
        match (value("_placeholder"), value("num")) {
            (Some(Tree::Bool(true)), Some(Tree::Unsigned(num))) => self.attachments.get(usize::try_from(*num).ok()?),
            _ => None,
        }
    }
}

impl Serialize for WithBytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.tree {
            Tree::Null => serializer.serialize_unit(),
            Tree::Bool(value) => serializer.serialize_bool(*value),
            Tree::Unsigned(value) => serializer.serialize_u64(*value),
            Tree::Signed(value) => serializer.serialize_i64(*value),
            Tree::Float(value) => serializer.serialize_f64(*value),
            Tree::Text(value) => serializer.serialize_str(value),
            Tree::List(list) => {
                let mut elements = serializer.serialize_seq(Some(list.len()))?;
                for element in list {
                    elements.serialize_element(&self.of(element))?;
                }
                elements.end()
            }
            Tree::Map(map) => {
                if let Some(bytes) = self.attachment(map) {
                    return serializer.serialize_bytes(bytes);
                }
                let mut entries = serializer.serialize_map(Some(map.len()))?;
                for (key, value) in map {
                    entries.serialize_entry(key, &self.of(value))?;
                }
                entries.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde::Serialize;

    const JSON: &str = r#"["e",{"z":-1,"a":[null,true,1.5]},{"_placeholder":true,"num":0}]"#;

    #[test]
    fn a_value_goes_there_and_back() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Picture {
            name: String,
            data: Bytes,
        }
        let value = ("e".to_owned(), Picture { name: "p".to_owned(), data: Bytes::from_static(b"\xff\0") });
        let payload = Payload::from_value(&value).unwrap();
        assert_eq!(payload.json(), r#"["e",{"name":"p","data":{"_placeholder":true,"num":0}}]"#);
        assert_eq!(payload.attachments(), [Bytes::from_static(b"\xff\0")]);
        assert_eq!(payload.to_value::<(String, Picture)>().unwrap(), value);
    }

    #[test]
    fn serializing_puts_bytes_where_they_belong_and_keeps_the_order_of_keys() {
        let bytes = [Bytes::from_static(b"\x01\x02")];
        let written = serde_json::to_string(&Payload::from_json(JSON, &bytes[..])).unwrap();
        assert_eq!(written, r#"["e",{"z":-1,"a":[null,true,1.5]},[1,2]]"#);
        // Without the attachment, the object is one.
        assert_eq!(serde_json::to_string(&Payload::from_json(JSON, &[])).unwrap(), JSON);
        assert!(serde_json::to_string(&Payload::from_json("[", &[])).is_err());
    }
}
