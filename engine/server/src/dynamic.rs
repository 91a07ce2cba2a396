//! A client asks for a namespace: it is found, made, or refused; and it goes with its last socket.
//!
//! ```text
//! CONNECT --> find by name --> population.enter --> core.enter_socket --> recovery, middlewares, accept
//!               | none, or removed meanwhile
//!               +--> patterns in their order, sync or async --the first that accepts--> child made or found --> enter
//! Released --> population.leave --the last, and cleanup is on--> child removed
//! ```

use crate::Handshake;
use crate::application::App;
use crate::parent_namespace::Answer;
use ringio_core::base::id::{NamespaceId, SocketKey};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

impl App {
    /// A client wants to join a namespace.
    pub(crate) fn handle_connect(self: &Rc<Self>, key: SocketKey) {
        let snapshot = self.snapshot();
        let requested = self.with_core(|core| {
            let name = core.requested_namespace(key)?;
            Some(snapshot.view().find(name).ok_or_else(|| name.to_owned()))
        });
        let Some(found) = requested else { return };
        let name = match found {
            // A namespace that another shard has removed since the snapshot was taken is made anew.
            Ok(namespace) => match self.join(key, namespace) {
                Ok(()) => return,
                Err(name) => name,
            },
            Err(name) => name,
        };
        if snapshot.view().parents().is_empty() {
            return self.refuse_unknown(key);
        }
        let handshake =
            self.with_core(|core| Some(Handshake::new(core.handshake(key)?, core.auth(key).unwrap_or_default())));
        let Some(handshake) = handshake else { return };
        let view = snapshot.shared_view();
        let future = Box::pin(async move {
            for (index, parent) in view.parents().iter().enumerate() {
                let is_accepted = match (parent.pattern.ask)(&name, &handshake) {
                    Answer::Known(is_accepted) => is_accepted,
                    Answer::Pending(future) => future.await,
                };
                if is_accepted {
                    return Some((index, name));
                }
            }
            None
        });
        self.start(None, future, move |app, chosen| {
            let chosen = chosen.unwrap_or_else(|error| {
                tracing::error!(%error, "a predicate for namespaces failed");
                None
            });
            app.handle_choice(key, chosen);
        });
    }

    /// The patterns have decided: the child of one of them, or nothing.
    fn handle_choice(self: &Rc<Self>, key: SocketKey, chosen: Option<Choice>) {
        if self.with_core(|core| core.requested_namespace(key).is_none()) {
            return;
        }
        let Some((parent, name)) = chosen else { return self.refuse_unknown(key) };
        let children_max = self.shared.settings.dynamic_namespaces_max;
        loop {
            let Some((id, is_new)) = self.shared.registry.child(parent, &name, children_max) else {
                tracing::warn!(children_max, "clients want more namespaces than dynamic_namespaces_max allows");
                return self.refuse_unknown(key);
            };
            if is_new && let Some(namespace) = self.namespace(id) {
                let told = catch_unwind(AssertUnwindSafe(|| self.shared.tell_new_namespace(&namespace)));
                if let Err(error) = self.settle(told.map(Ok)) {
                    tracing::error!(%error, "a listener of new namespaces panicked");
                }
            }
            // Removed again by another shard, whose client was there and left: rare, and then made once more.
            if self.join(key, id).is_ok() {
                return;
            }
        }
    }

    fn refuse_unknown(&self, key: SocketKey) {
        self.with_core(|core| core.refuse_socket(key, "Invalid namespace", None));
    }

    /// Takes the client in, unless the namespace has been removed: then its name.
    fn join(self: &Rc<Self>, key: SocketKey, namespace: NamespaceId) -> Result<(), String> {
        let snapshot = self.snapshot();
        let Some(id) = self.with_core(|core| core.socket_id(key)) else { return Ok(()) };
        let requested = || self.with_core(|core| core.requested_namespace(key).map(str::to_owned)).unwrap_or_default();
        let Some(table) = snapshot.view().table(namespace) else { return Err(requested()) };
        if table.population.as_ref().is_some_and(|population| !population.enter()) {
            return Err(requested());
        }
        if self.with_core(|core| core.enter_socket(key, namespace, &table.name)) {
            self.sockets.insert(key, namespace, id);
            self.handle_entered(key);
        } else {
            self.handle_gone(namespace);
        }
        Ok(())
    }

    /// A socket that was in the namespace is no more.
    pub(crate) fn handle_gone(self: &Rc<Self>, namespace: NamespaceId) {
        if !namespace.is_made() {
            return;
        }
        let snapshot = self.snapshot();
        let population = snapshot.view().table(namespace).and_then(|table| table.population.as_ref());
        if population.is_some_and(|population| population.leave())
            && self.shared.settings.cleanup_empty_child_namespaces
        {
            self.shared.registry.remove_if_empty(namespace);
            self.shared.check_namespaces();
            if self.shared.registry.view().1.table(namespace).is_none() {
                self.forget_listeners(namespace);
            }
        }
    }
}

/// The pattern that accepts, and the name it accepts.
type Choice = (usize, String);
