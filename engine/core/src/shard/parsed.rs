//! The way up with another parser than the default one: messages to its decoder, what it found to the namespaces.
//!
//! ```text
//! message --> decoder --> Incoming --> checks of the default encoding --> connect, leave, event, acknowledgement
//! ```
//! The rules are those of `inbound`, beginning with what closes a connection. A parser is not trusted to keep them.

use super::Shard;
use crate::base::id::SessionKey;
use crate::broadcast::packets;
use crate::door::DisconnectReason;
use crate::limits::{NAMESPACE_NAME_BYTES_MAX, unfinished_bytes_max};
use crate::namespace::assembly::Unfinished;
use crate::namespace::event::{Bounds, Carrier};
use crate::parser::{Incoming, Message, Outgoing, PacketKind};
use crate::session::State as SessionState;
use alloc::boxed::Box;
use alloc::vec::Vec;
use ringio_codec::socketio::decode::{ID_MAX, decode_content};
use ringio_codec::socketio::{Content, Packet};

/// What a client hears of a namespace that there cannot be.
const INVALID_NAMESPACE: &str = "Invalid namespace";

impl Shard {
    /// One message of an open session, for the parser.
    pub(super) fn take_message(&mut self, key: SessionKey, message: Message<'_>) {
        let Self { options, sessions, .. } = self;
        let (Some(parser), Some(session)) = (&options.parser, sessions.get_mut(key)) else { return };
        let mut unfinished = match session.unfinished.take() {
            Some(unfinished) => unfinished,
            None => Box::new(Unfinished::Decoder(parser.decoder())),
        };
        let Unfinished::Decoder(decoder) = &mut *unfinished else { return };
        let mut packets = Vec::new();
        let mut outcome = decoder.decode(message, &mut packets).map_err(|error| error.0);
        let bytes_held = decoder.bytes_held();
        if bytes_held as u64 > unfinished_bytes_max(options) {
            outcome = Err("more bytes without a whole packet than the server keeps");
        } else if bytes_held > 0 && outcome.is_ok() {
            session.unfinished = Some(unfinished);
        }
        for packet in packets {
            if self.sessions.get(key).is_none_or(|session| session.state != SessionState::Open) {
                return;
            }
            self.take_packet(key, packet);
        }
        if let Err(error) = outcome {
            self.violate(key, error);
        }
    }

    /// One packet that the parser found.
    fn take_packet(&mut self, key: SessionKey, packet: Incoming) {
        let Incoming { kind, namespace, id, json, attachments } = packet;
        let kind = match kind {
            PacketKind::BinaryEvent => PacketKind::Event,
            PacketKind::BinaryAck => PacketKind::Ack,
            kind => kind,
        };
        let content = match &json {
            None => Content::None,
            Some(json) => match decode_content(kind, json) {
                Ok(content) => content,
                Err(error) => return self.violate(key, error.as_str()),
            },
        };
        if id.is_some_and(|id| id > ID_MAX) {
            return self.violate(key, "invalid ack id");
        }
        let (namespace, query) = self.split_namespace(key, &namespace);
        if kind == PacketKind::Connect {
            if !namespace.starts_with('/') && namespace.len() <= NAMESPACE_NAME_BYTES_MAX {
                // A name that the default encoding cannot say, so that there is no such namespace.
                let refusal = Outgoing::UnknownNamespace { message: INVALID_NAMESPACE };
                return self.queue_packet(key, packets::encode(Vec::new(), &self.options.parser, namespace, &refusal));
            }
            let auth = self.auth_of(key, json.as_deref(), query);
            return self.request_connect(key, namespace, auth);
        }
        let Some(socket) = self.socket_in(key, namespace) else { return self.close_session(key) };
        match kind {
            PacketKind::Disconnect => self.begin_leaving(socket, DisconnectReason::ClientNamespaceDisconnect),
            PacketKind::Event | PacketKind::Ack => {
                // An event without payload has no name: nobody can listen to it.
                let Some(json) = json else { return };
                let packet = Packet { kind, attachment_count: 0, namespace: "/", id, data: Some(&json), content };
                let Some(bounds) = Bounds::of(&json, &packet) else { return };
                let mut message = bounds.into_message(Carrier::Owned(json.into_bytes(), 0));
                message.attachments = attachments;
                self.deliver_message(socket, kind == PacketKind::Ack, message, &[]);
            }
            _ => self.close_session(key),
        }
    }
}
