//! The Engine.IO session below a client's sockets: Node's `socket.conn`.
//!
//! ```text
//! session --> packet, message, heartbeat, upgrading, upgrade --> listeners of this connection
//!         <-- packet_create, flush, drain                                 none: the core looks at one byte and goes on
//! ```
//! Listeners belong to the session, on its shard, and end with it. They are called inline, behind what the same bytes meant for
//! sockets was queued.

use crate::application::App;
use crate::emitted::Emitted;
use crate::engine::Message;
use crate::error::EmitError;
use crate::listener::ListenerId;
use crate::request::Request;
use crate::socket::Socket;
use crate::{DisconnectReason, Transport};
use ringio_codec::engineio::PacketKind;
use ringio_core::base::id::SessionKey;
use ringio_core::door::{SessionDescription, SessionEvent};
use ringio_core::session::hearing::Hearing;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;

/// The session below a client's sockets, on its own shard. Cloning is cheap.
///
/// When the session has ended its handles stay harmless: there is no id and no request, and nothing is sent.
///
/// ```no_run
/// # use ringio::{Server, Socket};
/// # let io = Server::new();
/// io.on_connection(|socket: Socket| {
///     let conn = socket.conn();
///     println!("{} by {}", conn.id(), conn.transport().as_str());
///     conn.on_upgrade(|transport| println!("now by {}", transport.as_str()));
///     conn.on_packet(|packet| println!("{:?}", packet.kind));
/// });
/// ```
///
/// ```no_run
/// # use ringio::{ReadyState, Socket};
/// # fn watch(socket: &Socket) {
/// let conn = socket.conn();
/// let (address, revision) = (conn.remote_address(), conn.protocol());
/// let agent = conn.request().and_then(|request| request.header("user-agent").map(str::to_owned));
/// println!("{address:?} speaks Engine.IO {revision}: {agent:?}, upgrading: {}", conn.is_upgrading());
/// if conn.ready_state() == ReadyState::Open && conn.outbox_bytes() > 1_000_000 {
///     println!("a slow client");
/// }
///
/// conn.on_message(|message| println!("came: {message:?}"));
/// conn.on_packet_create(|packet| println!("goes: {:?}", packet.kind));
/// conn.on_heartbeat(|| println!("alive"));
/// conn.on_upgrading(|transport| println!("tries {}", transport.as_str()));
/// conn.on_flush(|| println!("given to the transport"));
/// let drained = conn.on_drain(|| println!("taken by the system"));
/// conn.off(drained);
/// conn.on_close(|reason, description| println!("{reason} {description:?}"));
/// # }
/// ```
#[derive(Clone)]
pub struct Connection {
    app: Rc<App>,
    key: Option<SessionKey>,
}

/// Whether a session takes packets.
///
/// ```
/// assert_eq!(ringio::ReadyState::Closing.as_str(), "closing");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyState {
    /// It does.
    Open,
    /// It has been closed; the client has not yet fetched its last packets.
    Closing,
    /// It is gone.
    Closed,
}

impl ReadyState {
    /// Node's word: `open`, `closing`, `closed`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closing => "closing",
            Self::Closed => "closed",
        }
    }
}

/// A packet of Engine.IO.
///
/// ```no_run
/// # use ringio::{EnginePacketKind, Socket};
/// # fn count(socket: &Socket) {
/// socket.conn().on_packet(|packet| {
///     if packet.kind == EnginePacketKind::Pong {
///         println!("alive");
///     }
/// });
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct EnginePacket<'a> {
    /// Its type.
    pub kind: PacketKind,
    /// What it carries, without the type.
    pub data: Message<'a>,
}

/// What the log says of a listener that panics.
const FAILURE: &str = "a listener of a connection panicked";

type OnPacket = Rc<dyn Fn(&EnginePacket<'_>)>;

#[derive(Clone)]
enum Listener {
    Packet(OnPacket),
    PacketCreate(OnPacket),
    Message(Rc<dyn Fn(Message<'_>)>),
    Heartbeat(Rc<dyn Fn()>),
    Upgrading(Rc<dyn Fn(Transport)>),
    Upgrade(Rc<dyn Fn(Transport)>),
    Flush(Rc<dyn Fn()>),
    Drain(Rc<dyn Fn()>),
    Close(Rc<dyn Fn(DisconnectReason, Option<&'static str>)>),
}

impl Listener {
    /// What the core has to tell for it.
    const fn hearing(&self) -> Hearing {
        match self {
            Self::Packet(_) | Self::Message(_) | Self::Heartbeat(_) => Hearing::PACKETS,
            Self::PacketCreate(_) => Hearing::CREATED,
            Self::Upgrading(_) | Self::Upgrade(_) => Hearing::UPGRADES,
            Self::Flush(_) | Self::Drain(_) => Hearing::FLUSHES,
            Self::Close(_) => Hearing::CLOSE,
        }
    }
}

/// The listeners of a shard's sessions.
#[derive(Default)]
pub(crate) struct ConnectionListeners(RefCell<HashMap<SessionKey, Vec<(ListenerId, Listener)>>>);

impl ConnectionListeners {
    /// Gives back memory that no session needs.
    pub(crate) fn shrink(&self) {
        self.0.borrow_mut().shrink_to_fit();
    }

    pub(crate) fn take_all(&self) -> impl Sized {
        self.0.take()
    }
}

impl Connection {
    pub(crate) const fn new(app: Rc<App>, key: Option<SessionKey>) -> Self {
        Self { app, key }
    }

    fn description(&self) -> Option<SessionDescription> {
        let key = self.key?;
        self.app.with_core(|core| core.describe_session(key))
    }

    /// The session's id, which is not that of its sockets. Empty when it is gone.
    #[must_use]
    pub fn id(&self) -> String {
        self.description().map(|session| session.id).unwrap_or_default()
    }

    /// How the session talks at this moment; [`Transport::Polling`] when it is gone.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.description().map_or(Transport::Polling, |session| session.transport)
    }

    /// The revision of Engine.IO that the client speaks: 4, or 3 (with [`Builder::allow_eio3`](crate::Builder::allow_eio3)).
    #[must_use]
    pub fn protocol(&self) -> u8 {
        self.description().map_or(4, |session| session.protocol)
    }

    /// Whether it takes packets.
    #[must_use]
    pub fn ready_state(&self) -> ReadyState {
        match self.description() {
            Some(session) if session.is_open => ReadyState::Open,
            Some(_) => ReadyState::Closing,
            None => ReadyState::Closed,
        }
    }

    /// Whether a WebSocket has probed to become the transport and is not it yet.
    #[must_use]
    pub fn is_upgrading(&self) -> bool {
        self.description().is_some_and(|session| session.is_upgrading)
    }

    /// The session's first request, also after an upgrade. None when it is gone.
    #[must_use]
    pub fn request(&self) -> Option<Request> {
        self.description().map(|session| Request(session.request))
    }

    /// Where the client's first request came from: Node's `remoteAddress`, with the port.
    #[must_use]
    pub fn remote_address(&self) -> Option<SocketAddr> {
        let request = self.request()?;
        Some(SocketAddr::new(request.address()?, request.port()?))
    }

    /// Bytes that wait for the client.
    #[must_use]
    pub fn outbox_bytes(&self) -> usize {
        self.description().map_or(0, |session| session.outbox_bytes)
    }

    /// The client's sockets in all namespaces: Node's `client.sockets`.
    ///
    /// ```no_run
    /// # fn names(socket: &ringio::Socket) -> Vec<String> {
    /// let all = socket.conn().sockets();
    /// all.iter().map(|socket| socket.namespace().name().to_owned()).collect()
    /// # }
    /// ```
    #[must_use]
    pub fn sockets(&self) -> Vec<Socket> {
        let Some(key) = self.key else { return Vec::new() };
        let keys = self.app.with_core(|core| core.sockets_of(key));
        keys.into_iter().filter_map(|key| self.app.socket(key)).collect()
    }

    /// Sends a raw message, behind what is queued. A client of Socket.IO reads text as a packet of its protocol.
    ///
    /// ```no_run
    /// # use ringio::engine::Message;
    /// # fn hello(socket: &ringio::Socket) {
    /// socket.conn().send(Message::Text("2[\"hello\"]"));
    /// # }
    /// ```
    pub fn send(&self, message: Message<'_>) -> Emitted {
        let (data, is_binary) = match message {
            Message::Text(text) => (text.as_bytes(), false),
            Message::Binary(bytes) => (bytes, true),
        };
        let sent = match self.key {
            Some(key) => self.app.with_core(|core| core.engine_send(key, data, is_binary)).map_err(EmitError::from),
            None => Err(EmitError::Disconnected),
        };
        Emitted::new(sent)
    }

    /// Closes the session: its sockets leave with `forced close`. What is queued is sent first, unless `discard` says otherwise.
    ///
    /// ```no_run
    /// # fn out(socket: &ringio::Socket) {
    /// socket.conn().close(false);
    /// # }
    /// ```
    pub fn close(&self, discard: bool) {
        if let Some(key) = self.key {
            self.app.with_core(|core| core.close_session_by_hand(key, discard));
        }
    }

    // Listeners -----------------------------------------------------------------------------------------------------

    /// Calls `listener` for each packet that comes, pongs among them. Not for the packets of a probing WebSocket.
    pub fn on_packet(&self, listener: impl Fn(&EnginePacket<'_>) + 'static) -> ListenerId {
        self.listen(Listener::Packet(Rc::new(listener)))
    }

    /// Calls `listener` for each packet that is put into the outbox, pings among them. The packets of one binary event come one after
    /// the other.
    pub fn on_packet_create(&self, listener: impl Fn(&EnginePacket<'_>) + 'static) -> ListenerId {
        self.listen(Listener::PacketCreate(Rc::new(listener)))
    }

    /// Calls `listener` for each message that comes: Node's `message` and `data`.
    pub fn on_message(&self, listener: impl Fn(Message<'_>) + 'static) -> ListenerId {
        self.listen(Listener::Message(Rc::new(listener)))
    }

    /// Calls `listener` when the client has answered a ping (with revision 3: has sent one).
    pub fn on_heartbeat(&self, listener: impl Fn() + 'static) -> ListenerId {
        self.listen(Listener::Heartbeat(Rc::new(listener)))
    }

    /// Calls `listener` when a WebSocket has probed and the upgrade begins.
    pub fn on_upgrading(&self, listener: impl Fn(Transport) + 'static) -> ListenerId {
        self.listen(Listener::Upgrading(Rc::new(listener)))
    }

    /// Calls `listener` when the session talks over another transport.
    pub fn on_upgrade(&self, listener: impl Fn(Transport) + 'static) -> ListenerId {
        self.listen(Listener::Upgrade(Rc::new(listener)))
    }

    /// Calls `listener` when what was queued has been given to the transport: at the end of a turn, for all of it.
    pub fn on_flush(&self, listener: impl Fn() + 'static) -> ListenerId {
        self.listen(Listener::Flush(Rc::new(listener)))
    }

    /// Calls `listener` when the transport is done with what it was given: the kernel has taken it.
    pub fn on_drain(&self, listener: impl Fn() + 'static) -> ListenerId {
        self.listen(Listener::Drain(Rc::new(listener)))
    }

    /// Calls `listener` when the session has ended, after its sockets' `disconnect`: with the reason, and what exactly happened
    /// where that is known.
    pub fn on_close(&self, listener: impl Fn(DisconnectReason, Option<&'static str>) + 'static) -> ListenerId {
        self.listen(Listener::Close(Rc::new(listener)))
    }

    /// Removes a listener.
    pub fn off(&self, listener: ListenerId) {
        let Some(key) = self.key else { return };
        let mut removed = Vec::new();
        if let Some(listeners) = self.app.connections.0.borrow_mut().get_mut(&key) {
            removed.extend(listeners.extract_if(.., |(id, _)| *id == listener));
        }
        self.app.hear(key);
        drop(removed);
    }

    fn listen(&self, listener: Listener) -> ListenerId {
        let id = self.app.next_listener();
        if let Some(key) = self.key
            && self.ready_state() == ReadyState::Open
        {
            self.app.connections.0.borrow_mut().entry(key).or_default().push((id, listener));
            self.app.hear(key);
        }
        id
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl PartialEq for Connection {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && Rc::ptr_eq(&self.app, &other.app)
    }
}

impl Eq for Connection {}

impl App {
    /// Tells the core what the listeners of a session want to hear. The end is heard while there is any, so that they are forgotten.
    fn hear(&self, key: SessionKey) {
        let mut connections = self.connections.0.borrow_mut();
        let hearing = match connections.get(&key).filter(|listeners| !listeners.is_empty()) {
            Some(listeners) => listeners.iter().fold(Hearing::CLOSE, |all, (_, listener)| all.with(listener.hearing())),
            None => {
                connections.remove(&key);
                Hearing::NONE
            }
        };
        self.with_core(|core| core.hear_session(key, hearing));
    }

    /// A session has opened.
    pub(crate) fn handle_session(self: &Rc<Self>, key: SessionKey) {
        let connection = Connection::new(Rc::clone(self), Some(key));
        for hook in &self.shared.settings.hooks.sessions {
            self.guard(FAILURE, || hook(&connection));
        }
    }

    /// Something happened to a session that has listeners.
    pub(crate) fn handle_session_event(&self, key: SessionKey, event: SessionEvent, received: &[u8]) {
        let listeners = match event {
            SessionEvent::Closed(_) => self.connections.0.borrow_mut().remove(&key),
            _ => self.connections.0.borrow().get(&key).cloned(),
        };
        let Some(listeners) = listeners else { return };
        let each = |call: &dyn Fn(&Listener)| {
            for (_, listener) in &listeners {
                self.guard(FAILURE, || call(listener));
            }
        };
        match event {
            SessionEvent::Packet { kind, data, is_binary } => {
                let packet = EnginePacket { kind, data: message(data.bytes(received), is_binary) };
                each(&|listener| hear_packet(listener, &packet));
            }
            SessionEvent::Created { frame } => {
                for bounds in frame.packets() {
                    let body = &frame.bytes()[bounds.start as usize..bounds.end as usize];
                    let Some(packet) = packet_of(body, bounds.is_binary) else { continue };
                    each(&|listener| {
                        if let Listener::PacketCreate(listener) = listener {
                            listener(&packet);
                        }
                    });
                }
            }
            SessionEvent::Upgrading => each(&|listener| {
                if let Listener::Upgrading(listener) = listener {
                    listener(Transport::WebSocket);
                }
            }),
            SessionEvent::Upgraded => each(&|listener| {
                if let Listener::Upgrade(listener) = listener {
                    listener(Transport::WebSocket);
                }
            }),
            SessionEvent::Flushed => each(&|listener| {
                if let Listener::Flush(listener) = listener {
                    listener();
                }
            }),
            SessionEvent::Drained => each(&|listener| {
                if let Listener::Drain(listener) = listener {
                    listener();
                }
            }),
            SessionEvent::Closed(cause) => each(&|listener| {
                if let Listener::Close(listener) = listener {
                    listener(cause.reason, cause.description);
                }
            }),
        }
    }
}

fn hear_packet(listener: &Listener, packet: &EnginePacket<'_>) {
    match (listener, packet.kind) {
        (Listener::Packet(listener), _) => listener(packet),
        (Listener::Message(listener), PacketKind::Message) => listener(packet.data),
        (Listener::Heartbeat(listener), PacketKind::Pong | PacketKind::Ping) => listener(),
        _ => {}
    }
}

fn message(bytes: &[u8], is_binary: bool) -> Message<'_> {
    if is_binary {
        return Message::Binary(bytes);
    }
    Message::Text(std::str::from_utf8(bytes).expect("the core hands on text only as text"))
}

/// The packet of a frame's body.
fn packet_of(body: &[u8], is_binary: bool) -> Option<EnginePacket<'_>> {
    if is_binary {
        return Some(EnginePacket { kind: PacketKind::Message, data: Message::Binary(body) });
    }
    let (digit, text) = body.split_first()?;
    Some(EnginePacket { kind: PacketKind::from_digit(*digit)?, data: message(text, false) })
}
