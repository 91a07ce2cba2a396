//! The namespaces of a server: made by the program, made when a client asks, and found again.
//!
//! ```text
//! of("/a")          there? --> it        a pattern of of_regex matches? --> made as its child        otherwise made
//! CONNECT /a        there? --> it        of_matching, of_regex, .. in their order: the first that accepts makes its child
//! ```

use crate::listener::ListenerId;
use crate::parent_namespace::{Answer, Pattern};
use crate::{Handshake, Namespace, ParentNamespace, Server};
use regex::Regex;
use std::sync::Arc;

impl Server {
    /// The namespace of this name, made if there is none; a leading slash is added.
    ///
    /// Clients are let into namespaces that were made here, and refused in all others with `Invalid namespace`. A name that a
    /// pattern of [`Server::of_regex`] matches becomes a child of that pattern, as in Node: it begins with its parent's middlewares and
    /// handlers, and goes when it is empty if [`cleanup_empty_child_namespaces`](crate::Builder::cleanup_empty_child_namespaces) is on.
    ///
    /// ```
    /// let io = ringio::Server::new();
    /// assert_eq!(io.of("admin").name(), "/admin");
    /// assert_eq!(io.of("").name(), "/");
    /// ```
    #[must_use]
    pub fn of(&self, name: &str) -> Namespace {
        let (id, name, is_new) = self.shared().registry.namespace(name);
        let namespace = Namespace::new(Arc::clone(self.shared()), id, name);
        if is_new {
            self.shared().tell_new_namespace(&namespace);
        }
        namespace
    }

    /// The main namespace `/`, to which the server itself dereferences: Node's `io.sockets`.
    #[must_use]
    pub fn sockets(&self) -> &Namespace {
        self
    }

    /// All namespaces at this moment, sorted by name; those made for clients among them.
    ///
    /// ```
    /// let io = ringio::Server::new();
    /// let _ = io.of("/admin");
    /// let names: Vec<String> = io.namespaces().iter().map(|namespace| namespace.name().to_owned()).collect();
    /// assert_eq!(names, ["/", "/admin"]);
    /// ```
    #[must_use]
    pub fn namespaces(&self) -> Vec<Namespace> {
        let (_, view) = self.shared().registry.view();
        let mut all: Vec<Namespace> =
            view.names().map(|(name, id)| Namespace::new(Arc::clone(self.shared()), id, Arc::clone(name))).collect();
        all.sort_by(|one, other| one.name().cmp(other.name()));
        all
    }

    /// Namespaces that are made when a client asks for a name that `predicate` accepts: Node's `of` with a function.
    ///
    /// Asked only for names that no namespace has, patterns in the order in which they were given, on the client's shard.
    /// The name begins with a slash. What was added to the parent by then holds for the child. A predicate that panics refuses the
    /// client. Clients can make [`Builder::dynamic_namespaces_max`](crate::Builder::dynamic_namespaces_max) namespaces in all; beyond it
    /// they hear `Invalid namespace`.
    ///
    /// ```no_run
    /// use ringio::{Server, Socket};
    ///
    /// let io = Server::new();
    /// let workspaces = io.of_matching(|name, _handshake| {
    ///     name.strip_prefix("/workspace-").is_some_and(|id| id.parse::<u32>().is_ok())
    /// });
    /// workspaces.on_connection(|socket: Socket| {
    ///     socket.emit("welcome", socket.namespace().name())
    /// });
    /// ```
    pub fn of_matching(&self, predicate: impl Fn(&str, &Handshake) -> bool + Send + Sync + 'static) -> ParentNamespace {
        self.add_pattern(None, move |name, handshake| Answer::Known(predicate(name, handshake)))
    }

    /// As [`Server::of_matching`], with an async predicate. The client waits for it, `connect_timeout` at most; two clients that ask for
    /// one name at the same time get one namespace.
    ///
    /// ```no_run
    /// # async fn is_a_customer(name: &str) -> bool { true }
    /// let io = ringio::Server::new();
    /// let customers = io.of_matching_async(async |name, _handshake| is_a_customer(&name).await);
    /// ```
    pub fn of_matching_async(
        &self,
        predicate: impl AsyncFn(String, Handshake) -> bool + Send + Sync + 'static,
    ) -> ParentNamespace {
        let predicate = Arc::new(predicate);
        self.add_pattern(None, move |name, handshake| {
            let (predicate, name, handshake) = (Arc::clone(&predicate), name.to_owned(), handshake.clone());
            Answer::Pending(Box::pin(async move { predicate(name, handshake).await }))
        })
    }

    /// As [`Server::of_matching`], with a regular expression that the name, its slash included, must match.
    ///
    /// ```no_run
    /// use ringio::{Regex, Server, Socket};
    ///
    /// let io = Server::new();
    /// let rooms = io.of_regex(Regex::new(r"^/room-\d+$").expect("a fixed pattern"));
    /// rooms.on_connection(|socket: Socket| socket.emit("welcome", socket.namespace().name()));
    /// rooms.to("lobby").emit("news", "for the lobby of each room");
    /// ```
    pub fn of_regex(&self, pattern: Regex) -> ParentNamespace {
        let ask = pattern.clone();
        self.add_pattern(Some(pattern), move |name, _| Answer::Known(ask.is_match(name)))
    }

    fn add_pattern(
        &self,
        regex: Option<Regex>,
        ask: impl Fn(&str, &Handshake) -> Answer + Send + Sync + 'static,
    ) -> ParentNamespace {
        let index = self.shared().registry.add_parent(Pattern { regex, ask: Arc::new(ask) });
        ParentNamespace::new(Arc::clone(self.shared()), index)
    }

    /// Calls `listener` for every namespace that is made from now on, by [`Server::of`] or for a client: Node's
    /// `new_namespace`. On the thread that makes it.
    ///
    /// ```
    /// let io = ringio::Server::new();
    /// let listener = io.on_new_namespace(|namespace| println!("{}", namespace.name()));
    /// let _ = io.of("/admin"); // prints /admin
    /// io.off_new_namespace(listener);
    /// ```
    pub fn on_new_namespace(&self, listener: impl Fn(&Namespace) + Send + Sync + 'static) -> ListenerId {
        self.shared().add_namespace_hook(Arc::new(listener))
    }

    /// Removes a listener of [`Server::on_new_namespace`].
    pub fn off_new_namespace(&self, listener: ListenerId) {
        self.shared().remove_namespace_hook(listener);
    }
}
