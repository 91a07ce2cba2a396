//! What goes wrong, and what then happens: the rows of the misuse table in `engine/server/docs/node-api.md` that no other
//! test shows. Each test says whose mistake it is and that nobody else pays for it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use client::bare::Heard;
use client::{Place, Running};
use ringio::parser::{
    DecodeError, Decoder, EncodeError, Message, Messages, Packet, PacketKind, Packets, Parser, Payload,
};
use ringio::{AckError, BroadcastAckError, EmitError, Socket};
use serde_json::{Value, json};
use std::future::IntoFuture;
use std::sync::mpsc::channel;

matrix! {
    what_the_parser_cannot_encode_is_told_on_every_thread
}

fn wait<F: IntoFuture>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future.into_future())
}

/// The default encoding in `/`, without binary, and without what says `unspeakable`.
struct Prude;

impl Parser for Prude {
    type Decoder = Self;

    fn decoder(&self) -> Self {
        Self
    }

    fn encode(&self, packet: &Packet<'_>, messages: &mut Messages<'_>) -> Result<(), EncodeError> {
        let json = packet.payload.as_ref().map_or("", Payload::json);
        if json.contains("unspeakable") {
            return Err(EncodeError("unspeakable"));
        }
        let id = packet.id.map(|id| id.to_string()).unwrap_or_default();
        messages.push_text(&format!("{}{id}{json}", packet.kind.number()));
        Ok(())
    }
}

impl Decoder for Prude {
    fn decode(&mut self, message: Message<'_>, packets: &mut Packets<'_>) -> Result<(), DecodeError> {
        let Message::Text(text) = message else { return Err(DecodeError("text expected")) };
        let kind = text.bytes().next().and_then(|digit| PacketKind::from_number(digit.wrapping_sub(b'0')));
        let kind = kind.ok_or(DecodeError("unknown packet type"))?;
        let (id, json) = text[1..].split_at(text[1..].find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len() - 1));
        let payload = (!json.is_empty()).then(|| Payload::from_json(json, &[]));
        packets.push(Packet { kind, namespace: "/".into(), id: id.parse().ok(), payload });
        Ok(())
    }

    fn bytes_held(&self) -> usize {
        0
    }
}

fn what_the_parser_cannot_encode_is_told_on_every_thread(place: Place) {
    let io = place.builder().parser(Prude).build().unwrap();
    let refused = EmitError::Encode("unspeakable".to_owned());
    let (said, results) = channel();
    let everyone = io.clone();
    io.sockets_on("say it", async move |socket: Socket| {
        let direct = socket.emit("unspeakable", &()).into_result();
        let broadcast = everyone.emit("unspeakable", &()).into_result();
        let asked = socket.emit_with_ack::<Value>("unspeakable", &()).await;
        said.send((direct, broadcast, asked)).unwrap();
    });
    let server = Running::start(&io);
    let mut client = server.bare();

    // On the shard, and on a thread that is none: the caller is told, nobody hears a thing.
    client.emit("say it", &[]);
    let on_shard = results.recv_timeout(client::PATIENCE).unwrap();
    assert_eq!(on_shard, (Err(refused.clone()), Err(refused.clone()), Err(AckError::Emit(refused.clone()))));
    assert_eq!(io.emit("unspeakable", &()).into_result(), Err(refused.clone()));
    assert_eq!(io.to("nobody").except("anybody").emit("unspeakable", &()).into_result(), Err(refused.clone()));
    let asked = wait(io.to("nobody").emit_with_ack::<Value>("unspeakable", &()));
    assert!(matches!(asked, Err(BroadcastAckError::Emit(ref error)) if *error == refused), "{asked:?}");
    let remote = wait(io.fetch_sockets()).unwrap().pop().unwrap();
    assert_eq!(remote.emit("unspeakable", &()).into_result(), Err(refused.clone()));
    assert_eq!(wait(remote.emit_with_ack::<Value>("unspeakable", &())), Err(AckError::Emit(refused)));

    io.emit("news", &1);
    assert_eq!(client.next(), Heard::Event("news".to_owned(), vec![json!(1)], vec![]));
}
