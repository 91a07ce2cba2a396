//! Namespaces that come into being when a client asks for them: Node's dynamic namespaces.
//!
//! ```text
//! CONNECT /room-7 --no such namespace--> parents in their order: predicate(name, handshake)?
//!                                          +-- the first true: child made, parent's middlewares and handlers copied
//!                                          +-- none: CONNECT_ERROR "Invalid namespace"
//! ```
//! A child is a namespace like any other from then on. Its number is never given back, so clients can make at most
//! `dynamic_namespaces_max` of them.

use crate::emitted::Emitted;
use crate::encode::EmitArgs;
use crate::handler::Handler;
use crate::listener::{ListenerId, ListenerKey};
use crate::middleware::Middleware;
use crate::registry::Occasion;
use crate::shared::Shared;
use crate::{Handshake, Namespace};
use std::sync::Arc;

/// Whether a client may have a namespace of this name.
pub(crate) type Predicate = Arc<dyn Fn(&str, &Handshake) -> bool + Send + Sync>;

/// The pattern of namespaces that are made on demand. Made by [`Server::of_matching`](crate::Server::of_matching).
///
/// What is added here holds for namespaces made later, as in Node.
#[derive(Clone)]
pub struct ParentNamespace {
    shared: Arc<Shared>,
    index: usize,
}

impl ParentNamespace {
    pub(crate) const fn new(shared: Arc<Shared>, index: usize) -> Self {
        Self { shared, index }
    }

    /// As [`Namespace::on_connection`], for every namespace that is made by this pattern from now on.
    pub fn on_connection<M>(&self, handler: impl Handler<M> + Send + Sync) -> ListenerId {
        self.shared.registry.add_to_parent(self.index, &Occasion::Connection, handler.into_shared())
    }

    /// As [`Namespace::sockets_on`], for every namespace that is made by this pattern from now on.
    pub fn sockets_on<M>(&self, event: &str, handler: impl Handler<M> + Send + Sync) -> ListenerId {
        self.shared.registry.add_to_parent(self.index, &Occasion::of(event), handler.into_shared())
    }

    /// As [`Namespace::on_disconnecting`], for every namespace that is made by this pattern from now on.
    pub fn on_disconnecting<M>(&self, handler: impl Handler<M> + Send + Sync) -> ListenerId {
        self.shared.registry.add_to_parent(self.index, &Occasion::Disconnecting, handler.into_shared())
    }

    /// As [`Namespace::on_disconnect`], for every namespace that is made by this pattern from now on.
    pub fn on_disconnect<M>(&self, handler: impl Handler<M> + Send + Sync) -> ListenerId {
        self.shared.registry.add_to_parent(self.index, &Occasion::Disconnect, handler.into_shared())
    }

    /// As [`Namespace::sockets_off`], for namespaces that are made later; those that are there keep theirs, as in Node.
    pub fn sockets_off(&self, listener: impl ListenerKey) {
        self.shared.registry.remove_from_parent(self.index, listener.which());
    }

    /// As [`Namespace::with_middleware`], for every namespace that is made by this pattern from now on.
    pub fn with_middleware<M>(&self, middleware: impl Middleware<M>) {
        self.shared.registry.add_middleware_to_parent(self.index, middleware.into_step());
    }

    /// The namespaces that were made by this pattern, oldest first.
    #[must_use]
    pub fn children(&self) -> Vec<Namespace> {
        let (_, view) = self.shared.registry.view();
        let children = view.children(self.index).iter();
        children
            .filter_map(|id| Some(Namespace::new(Arc::clone(&self.shared), *id, Arc::clone(&view.table(*id)?.name))))
            .collect()
    }

    /// Sends an event to everybody in all [`children`](Self::children). Returns the first failure, if there is one.
    pub fn emit<A: EmitArgs + ?Sized>(&self, event: &str, args: &A) -> Emitted {
        let mut first = Emitted::new(Ok(()));
        for child in self.children() {
            let emitted = child.emit(event, args);
            if first.error().is_none() {
                first = emitted;
            }
        }
        first
    }
}

impl std::fmt::Debug for ParentNamespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParentNamespace").field("index", &self.index).finish_non_exhaustive()
    }
}
