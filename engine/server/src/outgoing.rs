//! Listeners of what is sent: Node's `onAnyOutgoing` and its companions.
//!
//! ```text
//! emit, broadcast --> core: frame into each outbox; for sockets that want to know, (socket, frame)
//!                       +--> the application, at once: name and arguments read from the frame --> listeners
//! ```
//! A socket without such listeners costs its deliveries one test of a flag, and nothing else.

use crate::application::App;
use crate::decode::Arguments;
use crate::extract::EventContext;
use crate::handler::Handler;
use crate::listener::ListenerId;
use crate::socket::Socket;
use bytes::Bytes;
use ringio_codec::socketio::decode::{DecodeLimits, decode, decode_content};
use ringio_codec::socketio::{Content, Packet, PacketKind};
use ringio_core::base::frame::Frame;
use ringio_core::base::id::SocketKey;
use ringio_core::broadcast::packets::Chosen;
use ringio_core::parser::{Incoming, Message, Parser};
use ringio_core::shard::Shard;
use std::borrow::Cow;
use std::rc::Rc;

impl Socket {
    /// Calls `listener` for every event that is sent to this client, by an emit or a broadcast from wherever; not for
    /// acknowledgements. With connection state recovery the last argument is the offset, as the client gets it.
    ///
    /// A listener like any other: [`EventName`](crate::EventName), [`Args`](crate::Args), [`RawArgs`](crate::RawArgs) say
    /// what is sent. It runs inside the emit, or when the broadcast reaches this shard. Volatile events that are dropped are
    /// heard too, as in Node.
    ///
    /// ```no_run
    /// # use ringio::{EventName, RawArgs, Server, Socket};
    /// # let io = Server::new();
    /// io.on_connection(|socket: Socket| {
    ///     socket.on_any_outgoing(|socket: Socket, name: EventName, args: RawArgs| {
    ///         println!("to {}: {} {}", socket.id(), name.0, args.json());
    ///     });
    /// });
    /// ```
    pub fn on_any_outgoing<M>(&self, listener: impl Handler<M>) -> ListenerId {
        self.listen_to_outgoing(listener, usize::MAX)
    }

    /// As [`Socket::on_any_outgoing`], before those that were added earlier.
    pub fn prepend_any_outgoing<M>(&self, listener: impl Handler<M>) -> ListenerId {
        self.listen_to_outgoing(listener, 0)
    }

    /// Removes one listener of [`Socket::on_any_outgoing`], or all of them with `None`.
    ///
    /// ```no_run
    /// # fn quiet(socket: &ringio::Socket) {
    /// socket.off_any_outgoing(None);
    /// # }
    /// ```
    pub fn off_any_outgoing(&self, listener: impl Into<Option<ListenerId>>) {
        let listener = listener.into();
        let removed = self.app().sockets.look(self.key(), |local| {
            let removed = crate::socket_table::remove(&mut local.outgoing, listener);
            (removed, local.outgoing.is_empty())
        });
        if removed.as_ref().is_some_and(|(_, is_empty)| *is_empty) {
            self.app().with_core(|core| core.hear_outgoing(self.key(), false));
        }
        drop(removed);
    }

    /// The listeners of [`Socket::on_any_outgoing`] in the order in which they are called.
    #[must_use]
    pub fn listeners_any_outgoing(&self) -> Vec<ListenerId> {
        let ids = self.app().sockets.look(self.key(), |local| local.outgoing.iter().map(|(id, _)| *id).collect());
        ids.unwrap_or_default()
    }

    fn listen_to_outgoing<M>(&self, listener: impl Handler<M>, position: usize) -> ListenerId {
        let id = self.app().next_listener();
        let listener = listener.into_local();
        let added = self.app().sockets.change(self.key(), move |local| {
            let position = position.min(local.outgoing.len());
            local.outgoing.insert(position, (id, listener));
        });
        if added.is_some() {
            self.app().with_core(|core| core.hear_outgoing(self.key(), true));
        }
        id
    }
}

impl App {
    /// A call of the core that sends events: whoever listens to them hears of them before this returns.
    pub(crate) fn send<R>(self: &Rc<Self>, call: impl FnOnce(&mut Shard) -> R) -> R {
        let (result, is_heard) = self.with_core(|core| (call(core), core.has_outgoing()));
        if is_heard {
            while let Some((socket, frame)) = self.with_core(Shard::take_outgoing) {
                self.handle_outgoing(socket, &frame);
            }
        }
        result
    }

    /// An event was sent to a socket that has listeners for that.
    pub(crate) fn handle_outgoing(self: &Rc<Self>, key: SocketKey, frame: &Frame) {
        let Some(socket) = self.socket(key) else { return };
        let listeners = self.sockets.look(key, |local| local.outgoing.clone()).unwrap_or_default();
        if listeners.is_empty() {
            return;
        }
        let Some(sent) = Sent::of(frame, &self.shared.settings.options.parser) else {
            return tracing::debug!(socket = socket.id(), "an event that was sent cannot be read back");
        };
        let context = EventContext::new(&socket, &sent.name, sent.arguments());
        for (_, listener) in &listeners {
            self.run(&**listener, &context);
        }
    }
}

/// An event read back from the frame that carries it.
struct Sent<'a> {
    name: Cow<'a, str>,
    json: Cow<'a, str>,
    count: u32,
    attachments: Vec<Bytes>,
}

impl<'a> Sent<'a> {
    /// None if the frame carries something else.
    fn of(frame: &'a Frame, parser: &Chosen) -> Option<Self> {
        if let Some(parser) = parser {
            return Self::by_parser(frame, &**parser);
        }
        let (first, others) = frame.packets().split_first()?;
        let body = |start: u32, end: u32| &frame.bytes()[start as usize..end as usize];
        let text = std::str::from_utf8(body(first.start, first.end)).ok()?.strip_prefix('4')?;
        let packet: Packet<'a> = decode(text, &DecodeLimits { attachments_max: u32::MAX }).ok()?;
        let name = packet.event_name()?;
        let Content::Event(skim) = packet.content else { return None };
        let data = packet.data?;
        let attachments = others.iter().map(|packet| Bytes::copy_from_slice(body(packet.start, packet.end))).collect();
        Some(Self { name, json: Cow::Borrowed(&data[skim.arguments]), count: skim.argument_count, attachments })
    }

    /// By a decoder of the parser that encoded it: what it makes for a client it can read, as clients can.
    fn by_parser(frame: &Frame, parser: &dyn Parser) -> Option<Self> {
        let (mut decoder, mut found) = (parser.decoder(), Vec::new());
        for packet in frame.packets() {
            let body = &frame.bytes()[packet.start as usize..packet.end as usize];
            let message = if packet.is_binary {
                Message::Binary(body)
            } else {
                Message::Text(std::str::from_utf8(body).ok()?.strip_prefix('4')?)
            };
            decoder.decode(message, &mut found).ok()?;
        }
        let Incoming { json, attachments, .. } = found.into_iter().next()?;
        let json = json?;
        let Content::Event(skim) = decode_content(PacketKind::Event, &json).ok()? else { return None };
        let name = Cow::Owned(skim.name.text(&json).into_owned());
        let (json, count) = (Cow::Owned(json[skim.arguments].to_owned()), skim.argument_count);
        Some(Self { name, json, count, attachments })
    }

    fn arguments(&self) -> Arguments<'_> {
        Arguments { json: self.json.as_bytes(), count: self.count, attachments: &self.attachments }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ringio_core::broadcast::{encode, packets};
    use ringio_core::door::EventParts;
    use ringio_core::parser::Outgoing;
    use ringio_core::parser::msgpack::Msgpack;
    use std::sync::Arc;

    fn sent(namespace: &str, id: Option<u64>, json: &str, attachments: &[Bytes]) -> Frame {
        Frame::new(encode::event(Vec::new(), namespace, id, EventParts { json: json.as_bytes(), attachments }))
    }

    #[test]
    fn an_event_is_read_back_from_its_frame() {
        let bytes = [Bytes::from_static(b"\x00x")];
        let frame = sent("/admin", Some(7), r#"["a\"b",{"_placeholder":true,"num":0},2]"#, &bytes);
        let event = Sent::of(&frame, &None).unwrap();
        assert_eq!((&*event.name, event.count, &*event.json), ("a\"b", 2, r#"{"_placeholder":true,"num":0},2"#));
        assert_eq!(event.arguments().data::<(Bytes, u8)>().unwrap(), (bytes[0].clone(), 2));
        let frame = sent("/", None, r#"["plain"]"#, &[]);
        let event = Sent::of(&frame, &None).unwrap();
        assert_eq!((&*event.name, event.count, &*event.json), ("plain", 0, ""));
    }

    #[test]
    fn an_event_of_another_parser_is_read_back_by_it() {
        let parser: Chosen = Some(Arc::new(Msgpack::default()));
        let bytes = [Bytes::from_static(b"\x00x")];
        let parts = EventParts { json: br#"["a\"b",{"_placeholder":true,"num":0},2]"#, attachments: &bytes };
        let packet = Outgoing::Event { parts, id: Some(7), is_broadcast: true };
        let frame = Frame::new(packets::encode(Vec::new(), &parser, "/admin", &packet).unwrap());
        let event = Sent::of(&frame, &parser).unwrap();
        assert_eq!((&*event.name, event.count), ("a\"b", 2));
        assert_eq!(event.arguments().data::<(Bytes, u8)>().unwrap(), (bytes[0].clone(), 2));
        let frame = Frame::new(packets::encode(Vec::new(), &parser, "/", &Outgoing::Disconnect).unwrap());
        assert!(Sent::of(&frame, &parser).is_none());
    }

    #[test]
    fn what_is_no_event_is_none() {
        assert!(Sent::of(&encode::text_frame(b"2"), &None).is_none());
        assert!(Sent::of(&Frame::raw(b"HTTP".to_vec()), &None).is_none());
    }
}
