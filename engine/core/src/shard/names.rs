//! Sessions whose id the application has chosen freely: any text, where the engine's own are 20 characters.
//!
//! ```text
//! chosen "user:7" --> on the wire "user:7AB"          the last two characters name the shard, as in every sid
//!                     inside, a sid as every session has; names: text <--> session
//! ```
//! Both tables are empty, and cost nothing, unless `generate_id` gives such texts.

use super::Shard;
use crate::base::id::{NamespaceId, SessionKey, ShardIndex, SocketKey};
use crate::base::seed::Sid;
use alloc::boxed::Box;
use alloc::string::String;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use ringio_codec::http::query::EngineQuery;
use ringio_codec::http::request::Request;

/// The freely chosen ids of a shard's sessions, both ways.
#[derive(Debug)]
pub(super) struct SessionNames {
    sessions: HashMap<Box<str>, SessionKey, FixedState>,
    names: HashMap<SessionKey, Box<str>, FixedState>,
}

impl SessionNames {
    pub(super) fn new(hash: FixedState) -> Self {
        Self { sessions: HashMap::with_hasher(hash.clone()), names: HashMap::with_hasher(hash) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.names.is_empty()
    }

    pub(super) fn find(&self, name: &str) -> Option<SessionKey> {
        self.sessions.get(name).copied()
    }

    pub(super) fn insert(&mut self, key: SessionKey, name: Box<str>) {
        self.sessions.insert(name.clone(), key);
        self.names.insert(key, name);
    }

    pub(super) fn shrink(&mut self) {
        self.sessions.shrink_to_fit();
        self.names.shrink_to_fit();
    }

    pub(super) fn remove(&mut self, key: SessionKey) {
        if self.names.is_empty() {
            return;
        }
        if let Some(name) = self.names.remove(&key) {
            self.sessions.remove(&name);
        }
    }
}

impl Shard {
    /// What a session is called on the wire: `conn.id` in Node. Empty when it is gone.
    #[must_use]
    pub fn session_name(&self, key: SessionKey) -> String {
        match (self.session_names.names.get(&key), self.sessions.get(key)) {
            (Some(name), _) => String::from(&**name),
            (None, Some(session)) => String::from(session.sid.as_str()),
            (None, None) => String::new(),
        }
    }

    /// The socket that a client of revision 3 calls `/chat#<session>`: so it names its sockets outside of `/`, without asking.
    pub(super) fn socket_by_old_id(&self, namespace: NamespaceId, id: &str) -> Option<SocketKey> {
        if !self.options.allow_eio3 {
            return None;
        }
        let name = id.strip_prefix(self.namespace_name(namespace))?.strip_prefix('#')?;
        let key = match Sid::parse(name) {
            Some(sid) => *self.session_ids.get(&sid)?,
            None => self.session_names.find(name)?,
        };
        let session = self.sessions.get(key).filter(|session| session.is_protocol_3())?;
        session.sockets.iter().copied().find(|socket| self.namespace_of(*socket) == Some(namespace))
    }

    /// The session of a request whose sid is no sid of the engine's own.
    pub(super) fn session_by_name(&self, request: &Request<'_>) -> Option<SessionKey> {
        if self.session_names.is_empty() {
            return None;
        }
        let query = EngineQuery::decode(request.query());
        self.session_names.find(&query.sid?)
    }

    /// The shard that such a sid names, unless it is this one.
    pub(super) fn foreign_shard_of_name(&self, request: &Request<'_>) -> Option<ShardIndex> {
        if !self.options.hooks.handshakes {
            return None;
        }
        let query = EngineQuery::decode(request.query());
        let shard = Sid::shard_of_text(&query.sid?)?;
        (shard != self.index && shard.0 < self.shard_count).then_some(shard)
    }
}
