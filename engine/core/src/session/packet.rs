//! What one text packet of an open session means.
//!
//! Source: engine.io 6.6, `socket.ts` (`onPacket`): the client sends pongs, messages and the close packet; a ping from it
//! goes in the wrong direction; open, upgrade and noop mean nothing here.

use ringio_codec::engineio::PacketKind;

/// What a packet means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A message for the floor above.
    Message,
    /// The client lives.
    Pong,
    /// The client closes.
    Close,
    /// A ping, which only the server sends in revision 4, or a pong, which only the server sends in revision 3.
    WrongDirection,
    /// Revision 3: a ping, to be answered.
    Ping,
    /// Nothing.
    Ignored,
}

/// What a packet of `kind` from a client means.
#[must_use]
pub const fn read(kind: PacketKind) -> Found {
    match kind {
        PacketKind::Message => Found::Message,
        PacketKind::Pong => Found::Pong,
        PacketKind::Close => Found::Close,
        PacketKind::Ping => Found::WrongDirection,
        PacketKind::Open | PacketKind::Upgrade | PacketKind::Noop => Found::Ignored,
    }
}

/// The same for a client of revision 3, which pings itself.
#[must_use]
pub const fn read_protocol_3(kind: PacketKind) -> Found {
    match kind {
        PacketKind::Ping => Found::Ping,
        PacketKind::Pong => Found::WrongDirection,
        _ => read(kind),
    }
}
