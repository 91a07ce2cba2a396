//! The staircase: the only folder that sees all floors.
//!
//! The fields of [`Shard`] are the floors. `inbound` is the whole way up on one screen, `outbound` the whole way down;
//! what floors return, these carry on. `handle_*` says what happened, `poll_*` asks what to do.

pub mod application;
pub mod closing;
pub mod cluster;
pub mod deadlines;
pub mod decisions;
pub mod drain;
pub mod inbound;
pub mod lifecycle;
pub mod memory;
pub mod names;
pub mod operations;
pub mod outbound;
pub mod outgoing;
pub mod parsed;
pub mod peers;
pub mod posts;
pub mod pressure;
pub mod questions;
pub mod recovery;
pub mod requests;
pub mod sessions;
pub mod slow;
pub mod ticks;
pub mod watching;
pub mod websocket;

use crate::base::frame::Frame;
use crate::base::frame_pool::FramePool;
use crate::base::id::{ConnectionKey, Key, NamespaceId, SessionKey, ShardIndex, SocketKey};
use crate::base::seed::{ChosenId, Seed, Sid};
use crate::base::slab::Slab;
use crate::base::time::Time;
use crate::base::wheel::Wheel;
use crate::broadcast::encode;
use crate::connection::Connection;
use crate::connection::deflate::SharedDeflate;
use crate::connection::polled_body::BodyCompressor;
use crate::door::{Counters, Event, HandshakeRequest, Output, PeerMessage};
use crate::gate::Gate;
use crate::namespace::Namespace;
use crate::namespace::ack::AckIds;
use crate::namespace::directory::Namespaces;
use crate::namespace::socket::{Presence, Socket};
use crate::options::{Asset, Options, Setup};
use crate::room::census::Census;
use crate::room::select::Selection;
use crate::session::Session;
use crate::session::dialect::Translations;
use crate::session::outbox::Joiner;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use deadlines::Deadline;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use lifecycle::Departure;
use peers::PendingFetch;
use pressure::Pressure;
use questions::Question;
use ringio_codec::websocket::Opcode;

/// Everything one core keeps.
#[derive(Debug)]
pub struct Shard {
    options: Arc<Options>,
    assets: Arc<Vec<Asset>>,
    index: ShardIndex,
    shard_count: u16,
    unix_time_ms: u64,
    now: Time,
    seed: Seed,
    is_stopping: bool,
    ticks: ticks::Ticks,
    /// Header lines for the answer to the request at hand.
    fields: Vec<u8>,
    /// What the application calls the session that the request at hand opens.
    chosen_sid: Option<ChosenId>,
    /// The request at hand, if the application has decided about it.
    decided: Option<Arc<HandshakeRequest>>,

    connections: Slab<ConnectionKey, Connection>,
    sessions: Slab<SessionKey, Session>,
    sockets: Slab<SocketKey, Socket>,
    /// By the server's number; a namespace appears when its first socket enters.
    namespaces: Namespaces,
    session_ids: HashMap<Sid, SessionKey, FixedState>,
    session_names: names::SessionNames,
    socket_ids: HashMap<Sid, SocketKey, FixedState>,
    wheel: Wheel<Deadline>,

    events: VecDeque<Event>,
    departure: Departure,
    /// Sent to sockets whose application wants to hear of it.
    outgoing: VecDeque<(SocketKey, Frame)>,
    outputs: VecDeque<Output>,
    peer_messages: VecDeque<(ShardIndex, PeerMessage)>,
    fetches: HashMap<u64, PendingFetch, FixedState>,
    recovery: Option<Box<recovery::Recovery>>,
    /// Broadcasts of this shard that wait for acknowledgements, by number.
    questions: HashMap<u64, Question, FixedState>,
    next_question: u64,
    next_fetch: u64,
    /// What is known of other servers and asked of them; none without a cluster.
    cluster: Option<Box<cluster::Cluster>>,
    /// Namespaces whose rooms somebody watches.
    watched: Vec<NamespaceId>,
    /// Their rooms on the whole server; on the first shard.
    censuses: BTreeMap<NamespaceId, Census>,

    dirty_sessions: Vec<SessionKey>,
    dirty_connections: Vec<ConnectionKey>,
    /// Sessions whose outbox ran over during a broadcast; closed when it is over.
    overflowed: Vec<SessionKey>,
    /// Connections with a request that arrived behind an answered one.
    resume: Vec<ConnectionKey>,
    /// Long bodies whose packets are being taken, a piece of each per turn.
    posts: VecDeque<posts::Post>,
    /// WebSockets that their peers have ended, behind events that are not handled yet.
    endings: Vec<ConnectionKey>,
    joiner: Joiner,
    frame_pool: FramePool,
    translations: Translations,
    deflate: SharedDeflate,
    bodies: BodyCompressor,
    /// Something stands behind a send that was handed out: its end is to be told soon.
    awaits_sent: bool,
    selection: Selection,
    crowd: memory::Crowd,
    /// Who may come in, beyond what this shard knows.
    gate: Option<Arc<dyn Gate>>,
    /// How short the memory of the process is.
    pressure: Pressure,
    /// The end is near: no session opens, and those that there are go one after the other until then.
    drain: Option<drain::Drain>,
    ping_frame: Frame,
    /// `Options::outbox_marks`, at hand.
    high_mark: usize,
    counters: Counters,
}

impl Shard {
    /// A shard without connections, at time zero.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let mut seed = Seed::new(setup.seed, setup.shard);
        let setup_recovery = setup.options.recovery;
        let compression = setup.options.http_compression;
        let bodies = BodyCompressor::new(
            compression.map(|compression| compression.threshold_bytes),
            compression.unwrap_or_default().level,
        );
        let ping_frame = if setup.options.plain_websocket {
            encode::control_frame(Opcode::Ping, &[])
        } else {
            encode::shared_text_frame(b"2")
        };
        let deflate = SharedDeflate::new(setup.options.per_message_deflate.unwrap_or_default());
        let hash = FixedState::with_seed(seed.next_u64());
        let (_, high_mark) = setup.options.outbox_marks();
        Self {
            options: setup.options,
            assets: setup.assets,
            index: setup.shard,
            shard_count: setup.shard_count,
            unix_time_ms: setup.unix_time_ms,
            now: Time::ZERO,
            seed,
            is_stopping: false,
            ticks: ticks::Ticks::default(),
            fields: Vec::new(),
            chosen_sid: None,
            decided: None,
            connections: Slab::default(),
            sessions: Slab::default(),
            sockets: Slab::default(),
            namespaces: Namespaces::new(hash.clone(), AckIds::new(setup.shard.0, setup.shard_count)),
            session_ids: HashMap::with_hasher(hash.clone()),
            session_names: names::SessionNames::new(hash.clone()),
            socket_ids: HashMap::with_hasher(hash.clone()),
            wheel: Wheel::new(Time::ZERO),
            events: VecDeque::new(),
            departure: Departure::None,
            outgoing: VecDeque::new(),
            outputs: VecDeque::new(),
            peer_messages: VecDeque::new(),
            fetches: HashMap::with_hasher(hash.clone()),
            recovery: recovery::Recovery::new(&setup_recovery, setup.shard_count, hash.clone()),
            questions: HashMap::with_hasher(hash.clone()),
            next_question: 0,
            next_fetch: 0,
            cluster: None,
            watched: Vec::new(),
            censuses: BTreeMap::new(),
            dirty_sessions: Vec::new(),
            dirty_connections: Vec::new(),
            overflowed: Vec::new(),
            resume: Vec::new(),
            posts: VecDeque::new(),
            endings: Vec::new(),
            joiner: Joiner::default(),
            frame_pool: FramePool::default(),
            translations: Translations::default(),
            deflate,
            bodies,
            awaits_sent: false,
            selection: Selection::default(),
            crowd: memory::Crowd::default(),
            gate: None,
            pressure: Pressure::Calm,
            drain: None,
            ping_frame,
            high_mark,
            counters: Counters::default(),
        }
    }

    fn namespace(&self, id: NamespaceId) -> Option<&Namespace> {
        self.namespaces.get(id)
    }

    /// Checks that all indexes agree. Costs time in proportion to everything there is: for tests and the simulator.
    ///
    /// # Panics
    /// If they do not.
    pub fn invariants(&self) {
        assert_eq!(self.session_ids.len(), self.sessions.len(), "each session has its sid");
        for (key, session) in self.sessions.iter() {
            assert_eq!(self.session_ids.get(&session.sid), Some(&key));
            for socket in &session.sockets {
                assert_eq!(
                    self.sockets.get(*socket).map(|socket| socket.session),
                    Some(key),
                    "a session's sockets know it"
                );
            }
            assert!(self.wheel.contains(session.heartbeat.timer), "an open session is watched");
        }
        for namespace in self.namespaces.iter() {
            let (mut count, mut members) = (0, Vec::new());
            for (key, socket) in self.sockets.iter() {
                if socket.namespace() != Some(namespace.id) || socket.has_left_everything {
                    continue;
                }
                members.push((key.index(), &socket.memberships));
                if !matches!(socket.presence, Presence::Entering(_)) {
                    assert!(namespace.everyone.contains(key.index()), "a joined socket is in `everyone`");
                    assert_eq!(self.socket_ids.get(&socket.sid), Some(&key));
                    count += 1;
                }
            }
            assert_eq!(namespace.everyone.len(), count, "`everyone` holds nobody else");
            namespace.rooms.invariants(members);
        }
    }

    /// All connections, to see that each holds no more than `limits` says: for tests and the simulator, as the two below.
    pub fn all_connections(&self) -> impl Iterator<Item = &Connection> {
        self.connections.iter().map(|(_, connection)| connection)
    }

    /// All sessions.
    pub fn all_sessions(&self) -> impl Iterator<Item = (SessionKey, &Session)> {
        self.sessions.iter()
    }

    /// All sockets, those included that are leaving.
    pub fn all_sockets(&self) -> impl Iterator<Item = &Socket> {
        self.sockets.iter().map(|(_, socket)| socket)
    }

    /// Whether nothing is left of anybody: no connection, session, socket, room, timer or queued message. What tells other servers
    /// that this one is there is nobody's.
    #[must_use]
    pub fn is_vacant(&self) -> bool {
        self.connections.is_empty()
            && self.sessions.is_empty()
            && self.sockets.is_empty()
            && self.session_ids.is_empty()
            && self.session_names.is_empty()
            && self.socket_ids.is_empty()
            && self.wheel.len() == self.cluster.as_ref().map_or(0, |cluster| cluster.timer_count())
            && self.is_unasked()
            && self.recovery.as_ref().is_none_or(|recovery| recovery.is_idle())
            && self.namespaces.made_count() == 0
            && self.namespaces.iter().all(|namespace| namespace.everyone.is_empty() && namespace.rooms.is_empty())
            && !self.has_work()
    }

    /// Whether no question is open: to clients, shards or servers.
    #[must_use]
    pub fn is_unasked(&self) -> bool {
        self.fetches.is_empty()
            && self.questions.is_empty()
            && self.cluster.as_ref().is_none_or(|cluster| cluster.is_idle())
    }

    /// It is `now`: what the application does next counts its deadlines from here. Every `handle_*` says it too. Time never goes
    /// back, whatever the caller's clock does.
    pub fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
    }
}
