//! A socket seen from anywhere: other threads, other shards.
//!
//! [`RemoteSocket`] is `Send + Sync`. What it reads is a snapshot of the moment it was fetched; what it does is a
//! message to the shard that its id names, in order with what the same thread did before.

use crate::ack::{FromReply, RemoteAckReply};
use crate::emitted::Emitted;
use crate::encode::{self, EmitArgs, OwnedEvent};
use crate::error::EmitError;
use crate::namespace::Place;
use crate::rooms::IntoRooms;
use crate::socket::ask;
use crate::{BroadcastOperator, Handshake, Namespace};
use ringio_core::base::id::SocketKey;
use ringio_core::base::seed::Sid;
use ringio_core::door::{EmitFlags, SocketDescription};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// A socket seen from anywhere. Cloning is cheap.
///
/// ```no_run
/// # use std::time::Duration;
/// # async fn example(io: ringio::Server) -> Result<(), Box<dyn std::error::Error>> {
/// for socket in io.fetch_sockets().await? {
///     println!("{} of {} in {:?}", socket.id(), socket.namespace().name(), socket.rooms());
///     println!("{:?} {:?}", socket.handshake().address(), socket.data().get::<String>("username"));
///     socket.emit("hello", &1).await?;
///     socket.volatile().emit("position", &2);
///     socket.compress(false).emit("random", &3);
///     socket.join("archive");
///     socket.leave("lobby");
///     let answer = socket.timeout(Duration::from_secs(5)).emit_with_ack::<bool>("ready?", &()).await;
///     if answer.is_err() && !socket.is_elsewhere() {
///         socket.disconnect(true);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RemoteSocket {
    namespace: Namespace,
    snapshot: Arc<Snapshot>,
}

#[derive(Debug)]
struct Snapshot {
    id: Sid,
    rooms: Vec<String>,
    handshake: Handshake,
    data: Map<String, Value>,
    /// It belongs to another server of the cluster.
    is_elsewhere: bool,
}

impl RemoteSocket {
    /// Of this server.
    pub(crate) fn new(namespace: Namespace, description: SocketDescription) -> Self {
        Self::describe(namespace, description, false)
    }

    /// Of another server.
    pub(crate) fn elsewhere(namespace: Namespace, description: SocketDescription) -> Self {
        Self::describe(namespace, description, true)
    }

    fn describe(namespace: Namespace, description: SocketDescription, is_elsewhere: bool) -> Self {
        let data = if description.data.is_empty() {
            Map::new()
        } else {
            // A shard of this server wrote it as an object; other servers may have anything for data.
            serde_json::from_slice(&description.data).unwrap_or_default()
        };
        let handshake = Handshake::new(description.handshake, &description.auth);
        let snapshot = Snapshot { id: description.id, rooms: description.rooms, handshake, data, is_elsewhere };
        Self { namespace, snapshot: Arc::new(snapshot) }
    }

    /// The socket's id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.snapshot.id.as_str()
    }

    /// The namespace it belongs to.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The rooms it was in, its own id first.
    #[must_use]
    pub fn rooms(&self) -> &[String] {
        &self.snapshot.rooms
    }

    /// The first request of its session and its auth payload.
    #[must_use]
    pub fn handshake(&self) -> &Handshake {
        &self.snapshot.handshake
    }

    /// Its data as it was.
    #[must_use]
    pub fn data(&self) -> DataSnapshot<'_> {
        DataSnapshot { data: &self.snapshot.data }
    }

    /// Sends an event to the client: a tuple is several arguments, `()` none, everything else one.
    ///
    /// On the client's own shard the result is what became of it; elsewhere, whether the message was taken.
    pub fn emit<A: EmitArgs + ?Sized>(&self, event: &str, args: &A) -> Emitted {
        self.operator().emit(event, args)
    }

    /// Sends an event and asks for an acknowledgement; the answer is decoded on the client's shard.
    ///
    /// It ends with `Disconnected` when the client leaves or has left; for a time limit use [`RemoteSocket::timeout`].
    pub fn emit_with_ack<R>(&self, event: &str, args: &(impl EmitArgs + ?Sized)) -> RemoteAckReply<R>
    where
        R: FromReply + Send + 'static,
    {
        self.operator().emit_with_ack(event, args)
    }

    /// The next event may be dropped if the client cannot take it at this instant.
    pub fn volatile(&self) -> RemoteSocketOperator {
        self.operator().volatile()
    }

    /// Whether the next event may be compressed: as [`BroadcastOperator::compress`](crate::BroadcastOperator::compress).
    pub fn compress(&self, is_compressed: bool) -> RemoteSocketOperator {
        self.operator().compress(is_compressed)
    }

    /// How long the next `emit_with_ack` waits.
    pub fn timeout(&self, timeout: Duration) -> RemoteSocketOperator {
        self.operator().timeout(timeout)
    }

    fn operator(&self) -> RemoteSocketOperator {
        RemoteSocketOperator { socket: self.clone(), flags: EmitFlags::default(), timeout: None }
    }

    /// Makes it join rooms.
    pub fn join(&self, rooms: impl IntoRooms) -> Emitted {
        if self.snapshot.is_elsewhere {
            return self.by_id().sockets_join(rooms);
        }
        let rooms = owned(rooms);
        self.run(move |core, key| {
            for room in &rooms {
                core.join(key, room);
            }
        })
    }

    /// Makes it leave rooms.
    pub fn leave(&self, rooms: impl IntoRooms) -> Emitted {
        if self.snapshot.is_elsewhere {
            return self.by_id().sockets_leave(rooms);
        }
        let rooms = owned(rooms);
        self.run(move |core, key| {
            for room in &rooms {
                core.leave(key, room);
            }
        })
    }

    /// Makes the client leave the namespace; with `close` all its namespaces, and ends its connection.
    pub fn disconnect(&self, close: bool) -> Emitted {
        if self.snapshot.is_elsewhere {
            return self.by_id().disconnect_sockets(close);
        }
        self.run(move |core, key| core.disconnect(key, close))
    }

    /// Whether it belongs to another server of the cluster.
    ///
    /// What is done to it then is a broadcast to the room of its id, as in Node: a client that has gone is not noticed, but for
    /// an acknowledgement, which ends with `Disconnected` if no server knows the socket.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        self.snapshot.is_elsewhere
    }

    fn by_id(&self) -> BroadcastOperator {
        self.namespace.to(self.id())
    }

    fn run(&self, job: impl FnOnce(&mut ringio_core::shard::Shard, SocketKey) + Send + 'static) -> Emitted {
        Emitted::new(self.namespace.run_at(self.snapshot.id, move |app, key| app.with_core(|core| job(core, key))))
    }
}

fn owned(rooms: impl IntoRooms) -> Vec<Box<str>> {
    let mut names = Vec::new();
    rooms.for_each_room(&mut |room| names.push(Box::from(room)));
    names
}

impl PartialEq for RemoteSocket {
    fn eq(&self, other: &Self) -> bool {
        self.snapshot.id == other.snapshot.id
    }
}

impl Eq for RemoteSocket {}

/// A remote socket and how to emit to it.
///
/// ```no_run
/// # use std::time::Duration;
/// # async fn example(socket: ringio::RemoteSocket) {
/// socket.volatile().compress(false).emit("position", &1);
/// let patient = socket.timeout(Duration::from_secs(60)).volatile();
/// let answer = patient.timeout(Duration::from_secs(90)).emit_with_ack::<bool>("ready?", &()).await;
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is sent before emit"]
pub struct RemoteSocketOperator {
    socket: RemoteSocket,
    flags: EmitFlags,
    timeout: Option<Duration>,
}

impl RemoteSocketOperator {
    /// Whether the event may be compressed, where the transport can. Default true.
    pub fn compress(mut self, is_compressed: bool) -> Self {
        self.flags.compress = is_compressed;
        self
    }

    /// The event may be dropped if the client cannot take it at this instant.
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// How long `emit_with_ack` waits.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends an event to the client.
    pub fn emit<A: EmitArgs + ?Sized>(&self, event: &str, args: &A) -> Emitted {
        if self.socket.snapshot.is_elsewhere {
            return self.socket.by_id().with_flags(self.flags).emit(event, args);
        }
        let (id, flags) = (self.socket.snapshot.id, self.flags);
        Emitted::new(match self.socket.namespace.locate(id) {
            Place::Here(app, key) => encode::event(event, args, |parts| app.send(|core| core.emit(key, parts, flags)))
                .and_then(|sent| sent.map_err(EmitError::from)),
            Place::Gone => Err(EmitError::Disconnected),
            Place::Elsewhere => self.socket.namespace.encode_for_shard(event, args).and_then(|event| {
                self.socket.namespace.run_at(id, move |app, key| {
                    // Nobody can be told of the result any more; the core counts and closes as it does for others.
                    let _ = app.send(|core| core.emit(key, event.parts(), flags));
                })
            }),
        })
    }

    /// Sends an event and asks for an acknowledgement.
    pub fn emit_with_ack<R>(&self, event: &str, args: &(impl EmitArgs + ?Sized)) -> RemoteAckReply<R>
    where
        R: FromReply + Send + 'static,
    {
        let (flags, timeout) = (self.flags, self.timeout);
        if self.socket.snapshot.is_elsewhere {
            return self.socket.by_id().with_flags(flags).ask_one(event, args, timeout);
        }
        let (sender, reply) = RemoteAckReply::new();
        let sent = encode::event(event, args, OwnedEvent::new).and_then(|event| {
            self.socket.namespace.run_at(self.socket.snapshot.id, move |app, key| {
                ask(app, key, event.parts(), flags, timeout, Box::new(|answer| sender.send(answer)));
            })
        });
        match sent {
            Ok(()) => reply,
            Err(error) => RemoteAckReply::failed(error),
        }
    }
}

/// The data of a remote socket, as it was when the socket was fetched.
///
/// ```no_run
/// # fn show(socket: &ringio::RemoteSocket) {
/// println!("{:?} of {}", socket.data().get::<String>("username"), socket.data().to_json());
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct DataSnapshot<'a> {
    data: &'a Map<String, Value>,
}

impl DataSnapshot<'_> {
    /// The value of `key` as a `T`; None if there is none or it is no `T`.
    #[must_use]
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        T::deserialize(self.data.get(key)?).ok()
    }

    /// Everything as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        Value::Object(self.data.clone())
    }
}
