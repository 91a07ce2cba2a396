//! From Rust values to the JSON and attachments of an event.
//!
//! ```text
//! emit("name", &(1, Bytes))  ->  ["name",1,{"_placeholder":true,"num":0}]  +  [Bytes]
//! ```
//! A tuple is several arguments, `()` is none, everything else is one. Whatever serializes itself as bytes
//! (`bytes::Bytes`, `serde_bytes`) becomes an attachment. The JSON is written into a buffer of the thread that is used
//! again for the next emit: nothing is allocated on the way to the core but for attachments.

use crate::error::EmitError;
use bytes::Bytes;
use ringio_codec::socketio::decode::is_reserved_event;
use ringio_codec::socketio::encode::write_json_string;
use ringio_core::door::EventParts;
use serde::Serialize;
use serde_json::ser::Formatter;
use std::cell::Cell;
use std::io;

/// A scratch buffer larger than this is not kept. Bytes.
const SCRATCH_BYTES_KEPT: usize = 1 << 16;

/// What can be sent with an event or an acknowledgement.
///
/// Everything that implements [`serde::Serialize`]: a tuple is several arguments, `()` is none, everything else
/// (arrays and slices too) is one. [`RawArgs`](crate::RawArgs) is sent on as it was received.
///
/// ```no_run
/// use ringio::Bytes;
///
/// #[derive(serde::Serialize)]
/// struct Picture {
///     name: String,
///     data: Bytes, // an attachment
/// }
///
/// # fn emit(socket: &ringio::Socket, picture: Picture) {
/// socket.emit("none", &());
/// socket.emit("one", "text");
/// socket.emit("one", &[1, 2, 3]);
/// socket.emit("two", &("text", 1));
/// socket.emit("picture", &picture);
/// # }
/// ```
/// A type of your own that is no `Serialize` may write several arguments itself:
///
/// ```
/// use ringio::{ArgumentWriter, EmitArgs};
///
/// struct Points(Vec<(f64, f64)>);
///
/// impl EmitArgs for Points {
///     fn write(&self, writer: &mut ArgumentWriter<'_>) -> Result<(), serde_json::Error> {
///         self.0.iter().try_for_each(|point| writer.push(point))
///     }
/// }
/// ```
pub trait EmitArgs {
    /// Appends the arguments.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    fn write(&self, writer: &mut ArgumentWriter<'_>) -> Result<(), serde_json::Error>;
}

/// Where [`EmitArgs`] writes to.
///
/// ```
/// use ringio::{ArgumentWriter, EmitArgs};
///
/// /// A name and its length.
/// struct Named(String);
///
/// impl EmitArgs for Named {
///     fn write(&self, writer: &mut ArgumentWriter<'_>) -> Result<(), serde_json::Error> {
///         writer.push(&self.0)?;
///         writer.push(&self.0.len())
///     }
/// }
/// ```
#[derive(Debug)]
pub struct ArgumentWriter<'a> {
    scratch: &'a mut Scratch,
}

impl ArgumentWriter<'_> {
    /// Appends one argument.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), serde_json::Error> {
        self.scratch.json.push(b',');
        self.serialize(value)
    }

    fn serialize<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), serde_json::Error> {
        let Scratch { json, attachments } = &mut *self.scratch;
        write_value(json, attachments, value)
    }

    /// Appends arguments that are JSON already, such as `1,{"a":2}`, and the attachments their placeholders count from 0.
    pub(crate) fn push_raw(&mut self, arguments: &[u8], attachments: &[Bytes]) {
        debug_assert!(self.scratch.attachments.is_empty(), "placeholders of raw arguments count from 0");
        if !arguments.is_empty() {
            self.scratch.json.push(b',');
            self.scratch.json.extend_from_slice(arguments);
        }
        self.scratch.attachments.extend_from_slice(attachments);
    }
}

impl<T: Serialize + ?Sized> EmitArgs for T {
    fn write(&self, writer: &mut ArgumentWriter<'_>) -> Result<(), serde_json::Error> {
        if !is_tuple::<T>() {
            return writer.push(self);
        }
        if is_unit::<T>() {
            return Ok(());
        }
        // A tuple is written as `[a,b]`: its opening bracket becomes the comma before the first argument.
        let start = writer.scratch.json.len();
        writer.serialize(self)?;
        let json = &mut writer.scratch.json;
        assert!(json[start] == b'[' && json.last() == Some(&b']'), "a tuple is written as an array");
        json[start] = b',';
        json.pop();
        Ok(())
    }
}

fn write_value<T: Serialize + ?Sized>(
    json: &mut Vec<u8>,
    attachments: &mut Vec<Bytes>,
    value: &T,
) -> Result<(), serde_json::Error> {
    value.serialize(&mut serde_json::Serializer::with_formatter(json, PlaceholderFormatter { attachments }))
}

/// `json` and a value after it, whose attachments follow those that are there.
pub(crate) fn append_value<T: Serialize + ?Sized>(
    mut json: Vec<u8>,
    attachments: &mut Vec<Bytes>,
    value: &T,
) -> Result<Vec<u8>, serde_json::Error> {
    write_value(&mut json, attachments, value)?;
    Ok(json)
}

/// Whether `T` is a tuple. Known when compiling: nothing is left of it in the program.
pub(crate) fn is_tuple<T: ?Sized>() -> bool {
    referred::<T>().starts_with('(')
}

pub(crate) fn is_unit<T: ?Sized>() -> bool {
    referred::<T>() == "()"
}

/// The type's name without leading references. An array is an array to serde, too, but starts with `[` here, which is
/// why the name is asked and not the serializer.
fn referred<T: ?Sized>() -> &'static str {
    let name = std::any::type_name::<T>().trim_start_matches('&');
    name.strip_prefix("mut ").unwrap_or(name)
}

/// Writes bytes as placeholders and keeps them as attachments.
struct PlaceholderFormatter<'a> {
    attachments: &'a mut Vec<Bytes>,
}

impl Formatter for PlaceholderFormatter<'_> {
    fn write_byte_array<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: &[u8]) -> io::Result<()> {
        write!(writer, "{{\"_placeholder\":true,\"num\":{}}}", self.attachments.len())?;
        self.attachments.push(Bytes::copy_from_slice(value));
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Scratch {
    json: Vec<u8>,
    attachments: Vec<Bytes>,
}

thread_local! {
    // Taken out while in use: a `Serialize` that emits itself finds an empty one and allocates, nothing worse.
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// Encodes an event and lends the result.
///
/// # Errors
/// [`EmitError::ReservedName`], [`EmitError::Encode`].
pub(crate) fn event<A: EmitArgs + ?Sized, R>(
    name: &str,
    arguments: &A,
    lend: impl FnOnce(EventParts<'_>) -> R,
) -> Result<R, EmitError> {
    if is_reserved_event(name) {
        return Err(EmitError::ReservedName(name.to_owned()));
    }
    with_scratch(|scratch| write_event(scratch, name, arguments), lend)
}

fn write_event<A: EmitArgs + ?Sized>(
    scratch: &mut Scratch,
    name: &str,
    arguments: &A,
) -> Result<(), serde_json::Error> {
    scratch.json.push(b'[');
    write_json_string(&mut scratch.json, name);
    arguments.write(&mut ArgumentWriter { scratch })?;
    scratch.json.push(b']');
    Ok(())
}

/// The same for an event from server to server, where other names are reserved.
///
/// # Errors
/// [`EmitError::ReservedName`], [`EmitError::Encode`].
pub(crate) fn server_side_event<A: EmitArgs + ?Sized, R>(
    name: &str,
    arguments: &A,
    lend: impl FnOnce(EventParts<'_>) -> R,
) -> Result<R, EmitError> {
    if matches!(name, "connect" | "connection" | "new_namespace") {
        return Err(EmitError::ReservedName(name.to_owned()));
    }
    with_scratch(|scratch| write_event(scratch, name, arguments), lend)
}

/// Encodes the arguments of an acknowledgement and lends the result.
///
/// # Errors
/// [`EmitError::Encode`].
pub(crate) fn answer<A: EmitArgs + ?Sized, R>(
    arguments: &A,
    lend: impl FnOnce(EventParts<'_>) -> R,
) -> Result<R, EmitError> {
    with_scratch(
        |scratch| {
            arguments.write(&mut ArgumentWriter { scratch })?;
            match scratch.json.first_mut() {
                Some(comma) => *comma = b'[',
                None => scratch.json.push(b'['),
            }
            scratch.json.push(b']');
            Ok(())
        },
        lend,
    )
}

fn with_scratch<R>(
    write: impl FnOnce(&mut Scratch) -> Result<(), serde_json::Error>,
    lend: impl FnOnce(EventParts<'_>) -> R,
) -> Result<R, EmitError> {
    let mut scratch = SCRATCH.take();
    let written = write(&mut scratch);
    let result = match written {
        Ok(()) => Ok(lend(EventParts { json: &scratch.json, attachments: &scratch.attachments })),
        Err(error) => Err(EmitError::Encode(error.to_string())),
    };
    scratch.json.clear();
    scratch.json.shrink_to(SCRATCH_BYTES_KEPT);
    scratch.attachments.clear();
    SCRATCH.set(scratch);
    result
}

/// An encoded event that can travel to another thread.
#[derive(Clone, Debug)]
pub(crate) struct OwnedEvent {
    json: Vec<u8>,
    attachments: Vec<Bytes>,
}

impl OwnedEvent {
    pub(crate) fn new(parts: EventParts<'_>) -> Self {
        Self { json: parts.json.to_vec(), attachments: parts.attachments.to_vec() }
    }

    pub(crate) fn parts(&self) -> EventParts<'_> {
        EventParts { json: &self.json, attachments: &self.attachments }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::BTreeMap;

    fn encoded(arguments: &(impl EmitArgs + ?Sized)) -> (String, Vec<Bytes>) {
        event("e", arguments, |parts| (String::from_utf8(parts.json.to_vec()).unwrap(), parts.attachments.to_vec()))
            .unwrap()
    }

    fn json(arguments: &(impl EmitArgs + ?Sized)) -> String {
        encoded(arguments).0
    }

    #[test]
    fn a_tuple_is_several_arguments_and_everything_else_is_one() {
        assert_eq!(json(&()), r#"["e"]"#);
        assert_eq!(json(&("a", 1)), r#"["e","a",1]"#);
        assert_eq!(json(&(1,)), r#"["e",1]"#);
        assert_eq!(json(&&&("a", (1, 2))), r#"["e","a",[1,2]]"#);
        assert_eq!(json("text"), r#"["e","text"]"#);
        assert_eq!(json(&7), r#"["e",7]"#);
        assert_eq!(json(&[1, 2]), r#"["e",[1,2]]"#);
        assert_eq!(json(&[(1, 2)]), r#"["e",[[1,2]]]"#);
        assert_eq!(json(&vec![1, 2]), r#"["e",[1,2]]"#);
        assert_eq!(json(&[0_u8; 2][..]), r#"["e",[0,0]]"#);
        assert_eq!(json(&None::<u8>), r#"["e",null]"#);
        assert_eq!(json(&BTreeMap::from([("k", 1)])), r#"["e",{"k":1}]"#);
        assert_eq!(json(&serde_json::json!([1, "x"])), r#"["e",[1,"x"]]"#);
    }

    #[test]
    fn an_answer_is_an_array_of_its_arguments() {
        let answered = |arguments: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            arguments(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(answered(&|out| answer(&(), |parts| out.extend(parts.json)).unwrap()), "[]");
        assert_eq!(answered(&|out| answer(&5, |parts| out.extend(parts.json)).unwrap()), "[5]");
        assert_eq!(answered(&|out| answer(&(1, "b"), |parts| out.extend(parts.json)).unwrap()), r#"[1,"b"]"#);
        assert_eq!(answered(&|out| answer(&[1], |parts| out.extend(parts.json)).unwrap()), "[[1]]");
    }

    #[test]
    fn bytes_anywhere_become_attachments_in_order() {
        #[derive(Serialize)]
        struct Picture {
            name: &'static str,
            data: Bytes,
        }
        let first = Bytes::from_static(b"\x00one");
        let second = Bytes::from_static(b"two");
        let (json, attachments) = encoded(&(&first, Picture { name: "p", data: second.clone() }));
        assert_eq!(json, r#"["e",{"_placeholder":true,"num":0},{"name":"p","data":{"_placeholder":true,"num":1}}]"#);
        assert_eq!(attachments, [first.clone(), second]);
        assert_eq!(encoded(&first).1, [first]);
    }

    #[test]
    fn reserved_names_are_refused_with_the_name() {
        for name in ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"] {
            let error = event(name, &(), |_| ()).unwrap_err();
            assert_eq!(error, EmitError::ReservedName(name.to_owned()));
            assert!(error.to_string().contains(name));
        }
        assert!(event("connection", &(), |_| ()).is_ok());
    }

    #[test]
    fn what_is_no_json_is_an_error_and_leaves_nothing_behind() {
        let keys_are_lists = BTreeMap::from([(vec![1], 2)]);
        assert!(matches!(event("e", &keys_are_lists, |_| ()), Err(EmitError::Encode(_))));
        assert_eq!(json(&1), r#"["e",1]"#);
    }

    #[test]
    fn a_value_that_emits_while_it_is_written_disturbs_nothing() {
        struct Nested;
        impl Serialize for Nested {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&json(&"inner"))
            }
        }
        assert_eq!(json(&Nested), r#"["e","[\"e\",\"inner\"]"]"#);
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(event("a\"\n", &1, |parts| parts.json.to_vec()).unwrap(), br#"["a\"\n",1]"#);
    }
}
