//! Between a shard and the link: what the core wants told, what others have told, which namespaces are open.
//!
//! ```text
//!   core --Event::Publish--> publish --> link          link --> inbox --job--> handle_incoming --> core.handle_cluster
//!   namespaces made or removed --job on the first shard--> keep_open: link and core know of each
//! ```

use super::{ClusterMessage, ClusterPacket, Incoming, MembersReply, NodeId, Outgoing, RequestId};
use crate::Namespace;
use crate::application::{App, ShardApplication};
use crate::shared::Shared;
use ringio_core::base::id::NamespaceId;
use ringio_core::shard::cluster::CLUSTER_SHARD;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// The namespaces that other servers know this one has, on the first shard. One that was removed and made again has
/// another number under its name.
pub(crate) type Opened = HashMap<Arc<str>, NamespaceId>;

impl Shared {
    /// A namespace was made: others may count this server from now on.
    pub(crate) fn open_namespace(&self, name: &Arc<str>) {
        if let Some(link) = self.cluster.as_ref().and_then(|gateway| gateway.link()) {
            link.open(name);
            self.check_namespaces();
        }
    }

    /// The shards run: whoever starts the next server finds this one among the others.
    pub(crate) fn open_namespaces(&self) {
        if let Some(link) = self.cluster.as_ref().and_then(|gateway| gateway.link()) {
            let (_, view) = self.registry.view();
            view.names().for_each(|(name, _)| link.open(name));
            self.check_namespaces();
        }
    }

    /// Namespaces were made or removed.
    pub(crate) fn check_namespaces(&self) {
        if self.cluster.is_some() {
            // A server that does not run yet looks when it starts; one that has stopped has nothing to say.
            let _ = self.inject(CLUSTER_SHARD.0, |ShardApplication(app)| app.keep_open());
        }
    }
}

impl App {
    /// This shard is about to run.
    pub(crate) fn join_cluster(self: &Rc<Self>) {
        let Some(gateway) = &self.shared.cluster else { return };
        self.with_core(|core| core.join_cluster(gateway.options()));
        self.keep_open();
    }

    /// Tells link and core which namespaces there are.
    fn keep_open(self: &Rc<Self>) {
        let Some(gateway) = self.shared.cluster.as_ref().filter(|_| self.index == CLUSTER_SHARD) else { return };
        let Some(link) = gateway.link() else { return };
        let snapshot = self.snapshot();
        let mut opened = self.opened.borrow_mut();
        let removed: Vec<(Arc<str>, NamespaceId)> =
            opened.extract_if(|name, _| snapshot.view().find(name).is_none()).collect();
        for (name, id) in removed {
            gateway.publish(Outgoing::new(Arc::clone(&name), None, Arc::new(ClusterMessage::AdapterClose)));
            link.close(&name);
            self.with_core(|core| core.close_in_cluster(id));
        }
        for (name, id) in snapshot.view().names() {
            match opened.insert(Arc::clone(name), id) {
                Some(before) if before == id => continue,
                Some(before) => self.with_core(|core| core.close_in_cluster(before)),
                None => {}
            }
            link.open(name);
            self.with_core(|core| core.open_in_cluster(id));
        }
    }

    /// A namespace made for clients has been removed: what was registered for it goes.
    pub(crate) fn forget_listeners(&self, namespace: NamespaceId) {
        self.shared.server_side.remove_namespace(namespace);
        if !self.shared.rooms.remove_namespace(namespace) {
            return;
        }
        for shard in 0..self.shared.settings.shard_count {
            // Of a shard that has too much to do, a few bytes stay.
            let _ = self.shared.inject(shard, move |ShardApplication(app)| {
                app.with_core(|core| core.unwatch_rooms(namespace));
            });
        }
    }

    /// The core wants others told.
    pub(crate) fn publish(self: &Rc<Self>, namespace: NamespaceId, to: Option<NodeId>, message: Arc<ClusterMessage>) {
        let Some(gateway) = &self.shared.cluster else { return };
        let snapshot = self.snapshot();
        if let Some(table) = snapshot.view().table(namespace) {
            gateway.publish(Outgoing::new(Arc::clone(&table.name), to, message));
        }
    }

    /// The core wants to know who else has a namespace.
    pub(crate) fn count_servers(self: &Rc<Self>, namespace: NamespaceId, question: u64) {
        let link = self.shared.cluster.as_ref().and_then(|gateway| gateway.link());
        let snapshot = self.snapshot();
        if let (Some(link), Some(table)) = (link, snapshot.view().table(namespace)) {
            link.members(&table.name, MembersReply::new(Arc::downgrade(&self.shared), self.index.0, question));
        }
    }

    /// Another server has told something.
    pub(crate) fn handle_incoming(self: &Rc<Self>, incoming: &Incoming) {
        let snapshot = self.snapshot();
        let namespace = snapshot.view().find(&incoming.namespace);
        if let Some(gateway) = &self.shared.cluster {
            gateway.count_received(namespace.is_some());
        }
        if let Some(id) = namespace {
            self.with_core(|core| core.handle_cluster(&incoming.from, id, &incoming.namespace, &incoming.message));
        }
    }

    /// Another server has sent an event to servers.
    pub(crate) fn handle_server_side(
        self: &Rc<Self>,
        namespace: NamespaceId,
        from: NodeId,
        request: Option<RequestId>,
        packet: &ClusterPacket,
    ) {
        let Some(namespace) = self.namespace(namespace) else { return };
        let namespace: &Namespace = &namespace;
        self.run_server_side(namespace, request.map(|request| (from, request)), packet);
    }
}
