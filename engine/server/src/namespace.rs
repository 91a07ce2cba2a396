//! A namespace of the server: its handlers and its sockets on all shards.
//!
//! A [`Namespace`] is a handle for everywhere (`Send + Sync`, cheap to clone). On a shard of its server it acts at
//! once; elsewhere what it does goes to one fixed shard, so that it happens in the order in which one thread asked.

use crate::Server;
use crate::application::{App, PeerJob, ShardApplication, current};
use crate::broadcast_operator::{BroadcastOperator, FetchSockets, broadcast};
use crate::emitted::Emitted;
use crate::encode::{self, EmitArgs, OwnedEvent};
use crate::error::EmitError;
use crate::middleware::Middleware;
use crate::rooms::IntoRooms;
use crate::shared::Shared;
use parking_lot::Mutex;
use ringio_core::base::id::{NamespaceId, ShardIndex, SocketKey};
use ringio_core::base::seed::Sid;
use ringio_core::broadcast::packets;
use ringio_core::door::EmitFlags;
use ringio_core::parser::Outgoing;
use ringio_core::room::select::Target;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The shard that acts for other threads.
const SHARD_FOR_OTHERS: u16 = 0;

/// A namespace of a server.
///
/// ```no_run
/// # use std::time::Duration;
/// # use ringio::{DisconnectReason, Server, Socket};
/// # let io = Server::new();
/// let chat = io.of("/chat");
/// assert_eq!((chat.name(), chat.server().path()), ("/chat", "/socket.io/"));
/// chat.on_connection(|socket: Socket| socket.join("lobby"));
/// chat.on_disconnecting(|socket: Socket| println!("{} leaves {:?}", socket.id(), socket.rooms()));
/// chat.on_disconnect(|reason: DisconnectReason| println!("{reason}"));
///
/// chat.emit("news", "for everybody");
/// chat.send("the event `message`"); // `write` is the same
/// chat.to("lobby").within("garden").except("cellar").emit("news", "for some");
/// chat.except("cellar").emit("news", "for all others");
/// chat.local().emit("news", "for those of this server");
/// chat.volatile().emit("position", &1);
/// chat.compress(false).emit("random", &2);
/// # async fn ask(chat: ringio::Namespace) {
/// let answers = chat.timeout(Duration::from_secs(5)).emit_with_ack::<bool>("ready?", &()).await;
/// # }
///
/// chat.sockets_join("archive");
/// chat.sockets_leave("archive");
/// chat.disconnect_sockets(false);
/// chat.remove_all_listeners();
/// # chat.write(&());
/// # chat.off_server_side("reload");
/// ```
#[derive(Clone)]
pub struct Namespace(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    id: NamespaceId,
    name: Arc<str>,
}

/// Where a socket is, seen from this thread.
pub(crate) enum Place {
    /// On the shard that this thread is.
    Here(Rc<App>, SocketKey),
    /// It was on this shard and has left.
    Gone,
    /// Elsewhere.
    Elsewhere,
}

impl Namespace {
    pub(crate) fn new(shared: Arc<Shared>, id: NamespaceId, name: Arc<str>) -> Self {
        Self(Arc::new(Inner { shared, id, name }))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    pub(crate) fn id(&self) -> NamespaceId {
        self.0.id
    }

    /// Its name, with the leading slash.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The server it belongs to.
    #[must_use]
    pub fn server(&self) -> Server {
        Server::of_shared(Arc::clone(self.shared()))
    }

    // Middlewares ------------------------------------------------------------------------------------------------------

    /// Lets `middleware` decide about every client that asks to join, before it is connected: `use` in Node.
    ///
    /// Inside, the socket has its id, handshake, data and extensions, and may join rooms; `is_connected` is false. What
    /// it emits there reaches the client before its CONNECT. A refused client gets `connect_error` and keeps its
    /// connection; one that is left without a verdict is closed after `connect_timeout`. A panic refuses the client with
    /// the message `internal server error`. Those added later decide about later clients only.
    ///
    /// ```no_run
    /// # use ringio::{ConnectError, Server, Socket};
    /// # async fn user_of(token: &str) -> Option<u64> { None }
    /// # let io = Server::new();
    /// io.with_middleware(|socket: Socket| match socket.handshake().header("authorization") {
    ///     Some(_) => Ok(()),
    ///     None => Err("not authorized"),
    /// });
    /// io.of("/admin").with_middleware(async |socket: Socket| {
    ///     let user = user_of("token").await.ok_or_else(|| ConnectError::new("unknown user"))?;
    ///     socket.extensions().insert(user);
    ///     Ok::<_, ConnectError>(())
    /// });
    /// ```
    pub fn with_middleware<M>(&self, middleware: impl Middleware<M>) {
        self.shared().registry.add_middleware(self.id(), middleware.into_step());
    }

    // Sockets -------------------------------------------------------------------------------------------------------

    /// Sends an event to every socket of the namespace, on all shards: a tuple is several arguments, `()` none,
    /// everything else one.
    pub fn emit<A: EmitArgs + ?Sized>(&self, event: &str, args: &A) -> Emitted {
        broadcast(self, &Target::default(), EmitFlags::default(), event, args)
    }

    /// Sends the event `message`, as `emit` does.
    pub fn send<A: EmitArgs + ?Sized>(&self, args: &A) -> Emitted {
        self.emit("message", args)
    }

    /// The same as [`Namespace::send`].
    pub fn write<A: EmitArgs + ?Sized>(&self, args: &A) -> Emitted {
        self.send(args)
    }

    /// The sockets in any of these rooms.
    pub fn to(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        BroadcastOperator::new(self).to(rooms)
    }

    /// The same as [`Namespace::to`]; Node calls it `in`.
    pub fn within(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.to(rooms)
    }

    /// Everyone but the sockets in any of these rooms (or with these ids).
    pub fn except(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        BroadcastOperator::new(self).except(rooms)
    }

    /// Everyone on this server, whatever other servers there are.
    pub fn local(&self) -> BroadcastOperator {
        BroadcastOperator::new(self).local()
    }

    /// Everyone, but the event is dropped for those who cannot take it at this instant.
    pub fn volatile(&self) -> BroadcastOperator {
        BroadcastOperator::new(self).volatile()
    }

    /// Everyone, with or without compression: [`BroadcastOperator::compress`].
    pub fn compress(&self, is_compressed: bool) -> BroadcastOperator {
        BroadcastOperator::new(self).compress(is_compressed)
    }

    /// Everyone, with a time for their acknowledgements: `io.timeout(..).emit_with_ack(..)`.
    pub fn timeout(&self, timeout: Duration) -> BroadcastOperator {
        BroadcastOperator::new(self).timeout(timeout)
    }

    /// All sockets of the namespace, on all shards.
    pub fn fetch_sockets(&self) -> FetchSockets {
        BroadcastOperator::new(self).fetch_sockets()
    }

    /// Makes all sockets of the namespace join rooms.
    pub fn sockets_join(&self, rooms: impl IntoRooms) -> Emitted {
        BroadcastOperator::new(self).sockets_join(rooms)
    }

    /// Makes all sockets of the namespace leave rooms.
    pub fn sockets_leave(&self, rooms: impl IntoRooms) -> Emitted {
        BroadcastOperator::new(self).sockets_leave(rooms)
    }

    /// Makes all sockets leave the namespace; with `close` ends their connections.
    pub fn disconnect_sockets(&self, close: bool) -> Emitted {
        BroadcastOperator::new(self).disconnect_sockets(close)
    }

    // Where things are done -----------------------------------------------------------------------------------------

    pub(crate) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.0.name)
    }

    /// An event for a shard that this thread is not. What the server's parser cannot encode is found here, because nobody waits any
    /// more when the shard finds it: with a parser such an event is encoded twice, without one nothing can be wrong by then.
    pub(crate) fn encode_for_shard(
        &self,
        event: &str,
        args: &(impl EmitArgs + ?Sized),
    ) -> Result<OwnedEvent, EmitError> {
        let parser = &self.shared().settings.options.parser;
        encode::event(event, args, |parts| {
            if parser.is_some() {
                let packet = Outgoing::Event { parts, id: None, is_broadcast: true };
                packets::encode(Vec::new(), parser, self.name(), &packet)?;
            }
            Ok(OwnedEvent::new(parts))
        })
        .and_then(|encoded: Result<_, ringio_core::door::EmitError>| encoded.map_err(EmitError::from))
    }

    /// Runs `job` at once if this thread is a shard of this server, else on the shard that acts for other threads.
    pub(crate) fn run(&self, job: impl FnOnce(&Rc<App>) + Send + 'static) -> Result<(), EmitError> {
        match current(self.shared()) {
            Some(app) => {
                job(&app);
                Ok(())
            }
            None => self.shared().inject(SHARD_FOR_OTHERS, move |ShardApplication(app)| job(app)),
        }
    }

    /// Where the socket with this id is.
    pub(crate) fn locate(&self, socket: Sid) -> Place {
        match current(self.shared()) {
            Some(app) => {
                let id = self.id();
                match app.with_core(|core| core.socket_by_id(id, socket.as_str())) {
                    Some(key) => Place::Here(app, key),
                    // A socket that came back may live on another shard than the one that made its id.
                    None if app.index == socket.shard() && app.shared.settings.options.recovery.is_none() => {
                        Place::Gone
                    }
                    None => Place::Elsewhere,
                }
            }
            None => Place::Elsewhere,
        }
    }

    /// Runs `job` on the shard of the socket, if it is still there; in order with what this thread asked before.
    pub(crate) fn run_at(
        &self,
        socket: Sid,
        job: impl FnOnce(&Rc<App>, SocketKey) + Send + 'static,
    ) -> Result<(), EmitError> {
        let id = self.id();
        self.run(move |app| {
            let at_owner = move |app: &Rc<App>| match app.with_core(|core| core.socket_by_id(id, socket.as_str())) {
                Some(key) => job(app, key),
                None if app.shared.settings.options.recovery.is_some() => seek(app, id, socket, job),
                None => {}
            };
            let owner = socket.shard();
            if owner == app.index {
                at_owner(app);
            } else {
                let job = Box::new(PeerJob(Box::new(at_owner)));
                app.with_core(|core| {
                    if owner.0 < core.shard_count() {
                        core.send_to_peer(owner, job);
                    }
                });
            }
        })
    }
}

/// Runs `job` on whichever other shard has the socket: after a recovery that need not be the one that made its id.
fn seek(app: &Rc<App>, id: NamespaceId, socket: Sid, job: impl FnOnce(&Rc<App>, SocketKey) + Send + 'static) {
    let job = Arc::new(Mutex::new(Some(job)));
    let others = (0..app.with_core(|core| core.shard_count())).map(ShardIndex).filter(|shard| *shard != app.index);
    for shard in others {
        let job = Arc::clone(&job);
        let look = move |app: &Rc<App>| {
            if let Some(key) = app.with_core(|core| core.socket_by_id(id, socket.as_str())) {
                let job = job.lock().take();
                if let Some(job) = job {
                    job(app, key);
                }
            }
        };
        app.with_core(|core| core.send_to_peer(shard, Box::new(PeerJob(Box::new(look)))));
    }
}

impl std::fmt::Debug for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Namespace").field(&self.0.name).finish()
    }
}
