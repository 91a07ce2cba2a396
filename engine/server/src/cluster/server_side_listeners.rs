//! Who listens for events of other servers, and how they are called.
//!
//! Such events are rare beside those of clients, so a lock is taken for each.

use super::server_side_handler::{ServerSideContext, SharedServerSideHandler};
use super::{ClusterPacket, NodeId, RequestId};
use crate::Namespace;
use crate::application::App;
use crate::decode::Arguments;
use crate::error::HandlerError;
use crate::handler::Outcome;
use crate::listener::{ListenerId, Which};
use parking_lot::RwLock;
use ringio_codec::socketio::json::skim_event;
use ringio_core::base::id::NamespaceId;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

#[derive(Clone)]
struct Listener {
    id: ListenerId,
    event: Box<str>,
    handler: SharedServerSideHandler,
}

/// By namespace, in the order in which they were added.
#[derive(Default)]
pub(crate) struct ServerSideListeners(RwLock<HashMap<NamespaceId, Vec<Listener>>>);

impl ServerSideListeners {
    pub(crate) fn add(&self, namespace: NamespaceId, id: ListenerId, event: &str, handler: SharedServerSideHandler) {
        let listener = Listener { id, event: Box::from(event), handler };
        self.0.write().entry(namespace).or_default().push(listener);
    }

    pub(crate) fn remove(&self, namespace: NamespaceId, which: Which<'_>) {
        let is_meant = |listener: &Listener| match which {
            Which::One(id) => listener.id == id,
            Which::Event(name) => *listener.event == *name,
        };
        // Dropped after the lock: handlers are the user's, and may use the server when dropped.
        let removed: Vec<Listener> = match self.0.write().get_mut(&namespace) {
            Some(listeners) => listeners.extract_if(.., |listener| is_meant(listener)).collect(),
            None => Vec::new(),
        };
        drop(removed);
    }

    /// Forgets all of a namespace that has been removed.
    pub(crate) fn remove_namespace(&self, namespace: NamespaceId) {
        let removed = self.0.write().remove(&namespace);
        drop(removed);
    }

    /// Forgets all: they may own the server that owns them.
    pub(crate) fn clear(&self) {
        let removed = std::mem::take(&mut *self.0.write());
        drop(removed);
    }

    fn matching(&self, namespace: NamespaceId, event: &str) -> Vec<SharedServerSideHandler> {
        let listeners = self.0.read();
        let of_namespace = listeners.get(&namespace).map_or(&[][..], Vec::as_slice);
        of_namespace
            .iter()
            .filter(|listener| *listener.event == *event)
            .map(|listener| Arc::clone(&listener.handler))
            .collect()
    }
}

impl App {
    /// Runs the handlers of an event of another server.
    pub(crate) fn run_server_side(
        self: &Rc<Self>,
        namespace: &Namespace,
        asker: Option<(NodeId, RequestId)>,
        packet: &ClusterPacket,
    ) {
        let event = std::str::from_utf8(&packet.json).ok().and_then(|text| Some((text, skim_event(text).ok()?)));
        let Some((text, event)) = event else {
            return tracing::warn!(namespace = namespace.name(), "an event of another server cannot be read");
        };
        let name = event.name.text(text);
        let arguments = Arguments {
            json: &packet.json[event.arguments.clone()],
            count: event.argument_count,
            attachments: &packet.attachments,
        };
        let context = ServerSideContext::new(namespace, &name, arguments, asker);
        for handler in self.shared.server_side.matching(namespace.id(), &name) {
            let called = catch_unwind(AssertUnwindSafe(|| handler.call(&context)));
            match self.settle(called) {
                Ok(Outcome::Done) => {}
                Ok(Outcome::Pending(future)) => {
                    let event = Box::<str>::from(&*name);
                    self.start(None, future, move |_, result| {
                        if let Err(error) = result.and_then(|result| result) {
                            report(&event, &error);
                        }
                    });
                }
                Err(error) => report(&name, &error),
            }
        }
    }
}

fn report(event: &str, error: &HandlerError) {
    tracing::error!(event, %error, "an event of another server was not handled");
}
