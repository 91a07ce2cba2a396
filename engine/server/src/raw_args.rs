//! The arguments of an event as they came, to be sent on without being read.

use crate::ack::{FromReply, Reply};
use crate::decode::Arguments;
use crate::encode::{self, ArgumentWriter, EmitArgs};
use crate::error::ArgumentError;
use crate::extract::{EventContext, FromEvent};
use bytes::Bytes;
use ringio_codec::socketio::attachment;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// All arguments of an event: raw JSON and attachments.
///
/// `emit` and `Ack::send` send them on byte by byte. Cost: one copy out of the receive buffer; cloning and, without attachments,
/// [`RawArgs::skip`] share it.
///
/// ```no_run
/// use ringio::{Data, RawArgs, Server, Socket};
///
/// let io = Server::new();
/// io.sockets_on("echo", |socket: Socket, args: RawArgs| socket.emit("echo", &args));
/// // The first argument is the room, the others are for those in it.
/// io.sockets_on("room", |socket: Socket, Data(room): Data<String>, args: RawArgs| {
///     socket.to(room).emit("room", &args.skip(1))
/// });
/// ```
///
/// ```no_run
/// # use ringio::{RawArgs, Server, Socket};
/// # let io = Server::new();
/// io.sockets_on("relay", |socket: Socket, mut args: RawArgs| {
///     println!("{} arguments, {} attachments: {}", args.len(), args.attachments().len(), args.json());
///     let room: String = args.get(0).map_err(|error| error.to_string())?;
///     let mut rest = args.skip(1);
///     if !rest.is_empty() {
///         rest.push_front(socket.id()).and_then(|()| rest.push(&"relayed")).map_err(|error| error.to_string())?;
///         socket.to(room).emit("relayed", &rest);
///     }
///     Ok::<_, String>(())
/// });
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawArgs {
    json: Bytes,
    count: u32,
    attachments: Vec<Bytes>,
}

impl RawArgs {
    pub(crate) fn new(arguments: &Arguments<'_>) -> Self {
        Self {
            json: Bytes::copy_from_slice(arguments.json),
            count: arguments.count,
            attachments: arguments.attachments.to_vec(),
        }
    }

    fn arguments(&self) -> Arguments<'_> {
        Arguments { json: &self.json, count: self.count, attachments: &self.attachments }
    }

    /// Number of arguments.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The arguments as JSON with commas between them: `1,{"a":2}`.
    #[must_use]
    pub fn json(&self) -> &str {
        std::str::from_utf8(&self.json).expect("copied from validated JSON at argument bounds")
    }

    /// The binary parts, in the order of their placeholders.
    #[must_use]
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// The argument at `index`, counted from 0, as a `T`; `null` if there is none.
    ///
    /// # Errors
    /// It is no `T`.
    pub fn get<T: DeserializeOwned>(&self, index: usize) -> Result<T, ArgumentError> {
        crate::decode::value(self.arguments().nth(index), &self.attachments)
    }

    /// Puts an argument before the others; bytes in it become attachments.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub fn push_front(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), serde_json::Error> {
        let mut json = encode::append_value(Vec::new(), &mut self.attachments, value)?;
        if self.count > 0 {
            json.push(b',');
            json.extend_from_slice(&self.json);
        }
        self.json = Bytes::from(json);
        self.count += 1;
        Ok(())
    }

    /// Puts an argument after the others; bytes in it become attachments.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub fn push(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), serde_json::Error> {
        let mut json = self.json.to_vec();
        if self.count > 0 {
            json.push(b',');
        }
        self.json = Bytes::from(encode::append_value(json, &mut self.attachments, value)?);
        self.count += 1;
        Ok(())
    }

    /// Without the first `count` arguments, and without the attachments that only those had: what is left is numbered anew, as Node does
    /// when it sends arguments on. Costs a copy of the text if there are attachments, nothing otherwise.
    #[must_use]
    pub fn skip(&self, count: usize) -> Self {
        let rest = self.arguments().skip(u32::try_from(count).unwrap_or(u32::MAX));
        let json = self.json.slice(self.json.len() - rest.json.len()..);
        if self.attachments.is_empty() || count == 0 {
            return Self { json, count: rest.count, attachments: self.attachments.clone() };
        }
        let (json, attachments) = renumber(&json, &self.attachments);
        Self { json, count: rest.count, attachments }
    }
}

/// The arguments with placeholders counted from 0 in their order, and the attachments they stand for.
fn renumber(json: &[u8], attachments: &[Bytes]) -> (Bytes, Vec<Bytes>) {
    let text = std::str::from_utf8(json).expect("the core hands on validated JSON only");
    let attachment_count = u32::try_from(attachments.len()).unwrap_or(u32::MAX);
    let found = attachment::find_known(text, attachment_count).unwrap_or_default();
    let (mut renumbered, mut kept, mut copied) = (Vec::with_capacity(json.len()), Vec::with_capacity(found.len()), 0);
    for (num, placeholder) in (0..).zip(found) {
        renumbered.extend_from_slice(&json[copied..placeholder.range.start]);
        attachment::write_placeholder(&mut renumbered, num);
        kept.push(attachments[placeholder.num as usize].clone());
        copied = placeholder.range.end;
    }
    renumbered.extend_from_slice(&json[copied..]);
    (Bytes::from(renumbered), kept)
}

impl FromEvent for RawArgs {
    fn from_event(context: &EventContext<'_>) -> Result<Self, ArgumentError> {
        Ok(Self::new(context.arguments()))
    }
}

/// All arguments of an acknowledgement, binary parts included.
impl FromReply for RawArgs {
    fn from_reply(reply: &Reply<'_>) -> Result<Self, ArgumentError> {
        Ok(Self::new(reply.arguments()))
    }
}

impl EmitArgs for RawArgs {
    fn write(&self, writer: &mut ArgumentWriter<'_>) -> Result<(), serde_json::Error> {
        writer.push_raw(&self.json, &self.attachments);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn raw(json: &'static str, count: u32) -> RawArgs {
        RawArgs::new(&Arguments { json: json.as_bytes(), count, attachments: &[Bytes::from_static(b"b")] })
    }

    fn emitted(args: &RawArgs) -> (String, usize) {
        encode::event("e", args, |parts| (String::from_utf8(parts.json.to_vec()).unwrap(), parts.attachments.len()))
            .unwrap()
    }

    #[test]
    fn they_are_sent_on_as_they_came() {
        let args = raw(r#"1.50, {"a" :"\u00e4"} ,{"_placeholder":true,"num":0}"#, 3);
        assert_eq!(emitted(&args), (r#"["e",1.50, {"a" :"\u00e4"} ,{"_placeholder":true,"num":0}]"#.to_owned(), 1));
        assert_eq!(args.get::<f64>(0).unwrap(), 1.5);
        assert_eq!(args.get::<Bytes>(2).unwrap(), "b");
        assert_eq!(args.get::<Option<u8>>(3).unwrap(), None);
        assert_eq!(args.len(), 3);
    }

    #[test]
    fn arguments_can_be_added_at_both_ends() {
        let mut args = RawArgs::default();
        args.push_front(&2).unwrap();
        args.push_front(&"one").unwrap();
        assert_eq!(emitted(&args), (r#"["e","one",2]"#.to_owned(), 0));
        let mut args = raw(r#"{"_placeholder":true,"num":0}"#, 1);
        args.push_front(&Bytes::from_static(b"first")).unwrap();
        args.push(&true).unwrap();
        assert_eq!(args.len(), 3);
        assert_eq!(args.get::<Bytes>(0).unwrap(), "first");
        assert_eq!(args.get::<Bytes>(1).unwrap(), "b");
        assert!(args.get::<bool>(2).unwrap());
    }

    #[test]
    fn the_rest_goes_on_without_the_first() {
        let args = raw(r#""room", {"_placeholder":true,"num":0}"#, 2);
        assert_eq!(emitted(&args.skip(1)).0, r#"["e",{"_placeholder":true,"num":0}]"#);
        assert_eq!(emitted(&args.skip(2)).0, r#"["e"]"#);
        assert_eq!(emitted(&args.skip(0)), emitted(&args));
    }

    /// Found by the oracle: an event without arguments took the attachments of skipped ones along.
    #[test]
    fn attachments_of_skipped_arguments_stay_behind() {
        let attachments = [b"a", b"b", b"c"].map(|bytes| Bytes::from_static(bytes));
        let json =
            br#"{"f":{"_placeholder":true,"num":1}},2,[{"num":2,"_placeholder":true},{"_placeholder":true,"num":0}]"#;
        let args = RawArgs::new(&Arguments { json, count: 3, attachments: &attachments });
        assert_eq!(emitted(&args).1, 3);
        let rest = args.skip(1);
        let renumbered = r#"["e",2,[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]]"#;
        assert_eq!(emitted(&rest), (renumbered.to_owned(), 2));
        assert_eq!(rest.get::<[Bytes; 2]>(1).unwrap(), ["c", "a"]);
        assert_eq!(emitted(&args.skip(3)), (r#"["e"]"#.to_owned(), 0));
    }
}
