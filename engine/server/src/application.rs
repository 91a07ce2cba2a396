//! What runs on top of the core, one per shard: events to handlers.
//!
//! ```text
//! core --Event--> handle_event --> whose? --> handlers of the socket, then of its namespace --> core (join, emit, ..)
//! ```
//! The core is borrowed for the length of one call and never while code of the user runs, so a handler may call
//! anything. Handlers are taken out (counted references) before they run, so that one may register and remove others.
//! A panic of a handler costs its event; a panic of the core itself stops the process, because its state may be broken.

use crate::Namespace;
use crate::background::Background;
use crate::cluster::Opened;
use crate::connection::ConnectionListeners;
use crate::decision::{self, Decision, Host};
use crate::decode::Arguments;
use crate::error::{AckError, ArgumentError, HandlerError};
use crate::extract::EventContext;
use crate::handler::{ErasedHandler, Outcome};
use crate::listener::ListenerId;
use crate::middleware::{ConnectError, Step, Verdict as Admission};
use crate::namespace_handles::NamespaceHandles;
use crate::packet_middleware::Passage;
use crate::registry::{Occasion, View};
use crate::request_extensions;
use crate::shared::Shared;
use crate::socket::Socket;
use crate::socket_table::SocketTable;
use crate::tokio_context::TokioContext;
use crate::waiter::{FetchedSockets, Waiter, Waiters};
use ringio_core::base::id::{ConnectionKey, NamespaceId, ShardIndex, SocketKey};
use ringio_core::door::{AckFailure, Cause, Event, FetchRequest, Message, Verdict};
use ringio_core::shard::Shard;
use ringio_runtime::shard_thread::{Application, ShardContext};
use std::any::Any;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

/// What the runtime runs.
#[derive(Clone, Debug)]
pub(crate) struct ShardApplication(pub(crate) Rc<App>);

type Job = Box<dyn FnOnce(&Rc<App>) + Send>;

/// A job for the application of another shard, sent over the mesh.
pub(crate) struct PeerJob(pub(crate) Job);

/// The application of one shard.
pub(crate) struct App {
    pub(crate) shared: Arc<Shared>,
    pub(crate) index: ShardIndex,
    core: Rc<RefCell<Shard>>,
    /// Whether the core is at work: a panic then is the core's own.
    is_in_core: Cell<bool>,
    pub(crate) background: Background,
    snapshot: RefCell<Rc<Snapshot>>,
    handles: RefCell<NamespaceHandles>,
    pub(crate) sockets: SocketTable,
    pub(crate) waiters: Waiters,
    pub(crate) opened: RefCell<Opened>,
    pub(crate) connections: ConnectionListeners,
    listener_count: Cell<u64>,
}

/// The namespaces as this shard last saw them.
pub(crate) struct Snapshot {
    version: u64,
    view: Arc<View>,
}

impl Snapshot {
    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    pub(crate) fn shared_view(&self) -> Arc<View> {
        Arc::clone(&self.view)
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<App>>> = const { RefCell::new(None) };
}

/// The application of the shard that this thread is, if it is one of that server.
pub(crate) fn current(shared: &Arc<Shared>) -> Option<Rc<App>> {
    CURRENT.with_borrow(|app| app.as_ref().filter(|app| Arc::ptr_eq(&app.shared, shared)).cloned())
}

impl ShardApplication {
    /// On the shard's own thread.
    pub(crate) fn new(shared: Arc<Shared>, context: ShardContext) -> Self {
        let snapshot = Snapshot { version: 0, view: Arc::default() };
        let seats = shared.settings.seats;
        request_extensions::drop_on(Some(context.executor.clone()));
        let app = Rc::new(App {
            shared,
            index: context.index,
            core: Rc::clone(&context.core),
            is_in_core: Cell::new(false),
            background: Background::new(context.executor, context.core, seats),
            snapshot: RefCell::new(Rc::new(snapshot)),
            handles: RefCell::default(),
            sockets: SocketTable::default(),
            waiters: Waiters::default(),
            opened: RefCell::default(),
            connections: ConnectionListeners::default(),
            listener_count: Cell::new(0),
        });
        CURRENT.set(Some(Rc::clone(&app)));
        app.join_cluster();
        app.watch_rooms();
        Self(app)
    }
}

impl Application for ShardApplication {
    fn handle_event(&self, event: Event, received: &mut [u8]) {
        let app = &self.0;
        match event {
            Event::ConnectRequested { socket } => app.handle_connect(socket),
            Event::Message { socket, message } => app.handle_message(socket, &message, received),
            Event::AckReceived { waiter, message } => {
                let data = message.data.bytes(received);
                app.resolve_ack(waiter, Ok(arguments(&message, data)));
            }
            Event::AckFailed { waiter, failure } => app.resolve_ack(
                waiter,
                Err(match failure {
                    AckFailure::Timeout => AckError::Timeout,
                    AckFailure::Disconnected => AckError::Disconnected,
                }),
            ),
            Event::Sent { socket, frame } => app.handle_outgoing(socket, &frame),
            Event::Disconnecting { socket, cause } => app.handle_leaving(socket, &Occasion::Disconnecting, cause),
            Event::Disconnected { socket, cause } => app.handle_leaving(socket, &Occasion::Disconnect, cause),
            Event::Released { socket } => {
                let namespace = app.sockets.find(socket).map(|(namespace, _)| namespace);
                drop(app.sockets.remove(socket));
                if let Some(namespace) = namespace {
                    app.handle_gone(namespace);
                }
            }
            Event::ProtocolError { socket, error } => {
                tracing::debug!(?socket, error, "a client broke the protocol");
                if let Some(socket) = app.socket(socket) {
                    app.raise(&socket, error);
                }
            }
            Event::FetchRequested { request, sockets } => app.describe_sockets(request, &sockets),
            Event::Fetched { waiter, sockets, others, missing, tally } => {
                if let Some(Waiter::Fetch(resolve)) = app.waiters.take(waiter) {
                    resolve(FetchedSockets { sockets, others, missing, tally });
                }
            }
            Event::RoomChanged { namespace, change } => app.handle_room(namespace, &change),
            Event::Publish { namespace, to, message } => app.publish(namespace, to, message),
            Event::CountServers { namespace, question } => app.count_servers(namespace, question),
            Event::ServersCounted { waiter, count } => app.resolve_count(waiter, count),
            Event::ServerSideEvent { namespace, from, request, packet } => {
                app.handle_server_side(namespace, from, request, &packet);
            }
            Event::ServerSideAnswered { waiter, answers, tally } => app.resolve_server_side(waiter, answers, tally),
            Event::FromPeer { from, message } => match message.downcast::<PeerJob>() {
                Ok(job) => (job.0)(app),
                Err(_) => tracing::error!(?from, "a message of unknown type from another shard"),
            },
            Event::Relieved { session } => app.handle_relieved(session),
            Event::EngineOpened { session } => app.handle_session(session),
            Event::Session { session, event } => app.handle_session_event(session, event, received),
            // Only an engine-only server hears these, and it has another application.
            Event::EngineMessage { .. } | Event::EngineClosed { .. } => {}
            Event::BroadcastAcknowledged { waiter, answers, is_complete } => {
                app.resolve_broadcast(waiter, answers, is_complete);
            }
            Event::RequestArrived { connection, request, stage } => {
                let hooks = &app.shared.settings.hooks;
                let decision = Decision::new(Rc::clone(app), hooks, app.index, connection, request, stage);
                if app.background.start(None, decision).is_some() {
                    app.decide(connection, decision::overloaded());
                }
            }
            Event::RequestRefused { request, error, context, message } => {
                decision::tell(&app.shared.settings.hooks, request, error, context, message);
            }
            Event::RecoveryDecided { socket, is_recovered, data } => app.handle_return(socket, is_recovered, data),
        }
    }

    fn shrink(&self) {
        let app = &self.0;
        app.sockets.shrink();
        app.waiters.shrink();
        app.background.shrink();
        app.connections.shrink();
        app.handles.borrow_mut().shrink();
    }

    fn handle_stop(&self) {
        let app = &self.0;
        // Each of these may own handles of this shard; what is dropped may still call the core.
        let waiters = app.waiters.take_all();
        drop(waiters);
        let connections = app.connections.take_all();
        drop(connections);
        let sockets = app.sockets.take_all();
        drop(sockets);
        request_extensions::drop_on(None);
        app.background.stop();
        drop(CURRENT.take());
        if let Some(gateway) = &app.shared.cluster {
            gateway.shard_ended();
        }
        app.shared.shard_ended();
    }
}

impl App {
    /// One call of the core. `call` must not run code of the user.
    pub(crate) fn with_core<R>(&self, call: impl FnOnce(&mut Shard) -> R) -> R {
        self.is_in_core.set(true);
        let result = call(&mut self.core.borrow_mut());
        self.is_in_core.set(false);
        result
    }

    /// The name of the next listener of this shard.
    pub(crate) fn next_listener(&self) -> ListenerId {
        let count = self.listener_count.get();
        self.listener_count.set(count + 1);
        ListenerId::of_shard(self.index, count)
    }

    /// The namespaces as they are now.
    pub(crate) fn snapshot(self: &Rc<Self>) -> Rc<Snapshot> {
        if self.snapshot.borrow().version != self.shared.registry.version() {
            let (version, view) = self.shared.registry.view();
            self.handles.borrow_mut().forget_removed(&view);
            let before = self.snapshot.replace(Rc::new(Snapshot { version, view }));
            drop(before);
        }
        Rc::clone(&self.snapshot.borrow())
    }

    /// This shard's own handle of a namespace; None if it has been removed.
    pub(crate) fn namespace(self: &Rc<Self>, id: NamespaceId) -> Option<Rc<Namespace>> {
        if let Some(found) = self.handles.borrow().find(id) {
            return Some(found);
        }
        let snapshot = self.snapshot();
        let name = Arc::clone(&snapshot.view.table(id)?.name);
        let namespace = Rc::new(Namespace::new(Arc::clone(&self.shared), id, name));
        self.handles.borrow_mut().insert(id, Rc::clone(&namespace));
        Some(namespace)
    }

    pub(crate) fn socket(self: &Rc<Self>, key: SocketKey) -> Option<Socket> {
        let (namespace, id) = self.sockets.find(key)?;
        Some(Socket::new(Rc::clone(self), key, self.namespace(namespace)?, id))
    }

    /// A socket is in its namespace: recovery, then middlewares, then `accept`.
    pub(crate) fn handle_entered(self: &Rc<Self>, key: SocketKey) {
        let former =
            self.shared.settings.options.recovery.and_then(|_| self.with_core(|core| former_of(core.auth(key)?)));
        match former {
            Some(Former { pid, offset }) => self.with_core(|core| core.recover_socket(key, &pid, &offset)),
            None => self.enter(key),
        }
    }

    /// Whether a client that says it comes back does.
    fn handle_return(self: &Rc<Self>, key: SocketKey, is_recovered: bool, data: Option<Arc<dyn Any + Send + Sync>>) {
        if !is_recovered {
            return self.enter(key);
        }
        if let Some(id) = self.with_core(|core| core.socket_id(key)) {
            self.sockets.rename(key, id);
        }
        if let Some(data) = data.and_then(|data| data.downcast::<serde_json::Map<String, serde_json::Value>>().ok()) {
            self.sockets.change(key, |local| local.data = (*data).clone());
        }
        let skips = self.shared.settings.options.recovery.is_some_and(|recovery| recovery.skip_middlewares);
        if skips { self.accept(key) } else { self.enter(key) }
    }

    /// Lets the middlewares decide.
    fn enter(self: &Rc<Self>, key: SocketKey) {
        let Some(socket) = self.socket(key) else { return };
        let snapshot = self.snapshot();
        let Some(table) = snapshot.view.shared_table(socket.namespace_id()) else { return };
        if table.middlewares.is_empty() {
            return self.accept(key);
        }
        let table = Arc::clone(table);
        let future = Box::pin(async move {
            for middleware in &table.middlewares {
                let verdict = match middleware(socket.clone()) {
                    Step::Done(verdict) => verdict,
                    Step::Pending(future) => future.await,
                };
                verdict?;
            }
            Ok(())
        });
        self.start(None, future, move |app, verdict: Result<Admission, HandlerError>| {
            let refusal = match verdict {
                Ok(Ok(())) => return app.accept(key),
                Ok(Err(refusal)) => refusal,
                Err(error) => {
                    tracing::error!(%error, "a middleware failed");
                    ConnectError::new("internal server error")
                }
            };
            let data = refusal.data().map(ToString::to_string);
            app.with_core(|core| core.refuse_socket(key, refusal.message(), data.as_deref()));
        });
    }

    fn accept(self: &Rc<Self>, key: SocketKey) {
        let Some((namespace, id)) = self.sockets.find(key) else { return };
        let snapshot = self.snapshot();
        let Some(table) = snapshot.view.table(namespace) else { return };
        // The client is told before the handlers run: what they emit comes after its CONNECT.
        if !self.with_core(|core| core.accept_socket(key, namespace, &table.name)) {
            return;
        }
        let Some(handle) = self.namespace(namespace) else { return };
        let socket = Socket::new(Rc::clone(self), key, handle, id);
        let context = EventContext::new(&socket, "connection", Arguments::NONE);
        for listener in table.handlers(&Occasion::Connection) {
            self.run_counted(&*listener.handler, &context, None);
        }
    }

    fn handle_message(self: &Rc<Self>, key: SocketKey, message: &Message, received: &[u8]) {
        let Some(socket) = self.socket(key) else { return };
        // An event that arrived with others, before one of which the server disconnected its socket.
        if !self.with_core(|core| core.is_heard(key)) {
            return;
        }
        let guards = self.sockets.look(key, |local| (local.any.clone(), !local.middlewares.is_empty()));
        let (any, has_middlewares) = guards.unwrap_or_default();
        let data = message.data.bytes(received);
        let name = event_name(message, data);
        if has_middlewares || !any.is_empty() {
            let is_answered = Rc::default();
            let mut context = EventContext::new(&socket, &name, arguments(message, data));
            context.share_ack(message.id, &is_answered);
            for (_, handler) in &any {
                self.run(&**handler, &context);
            }
            // As they are now: those of every event may have changed them, or let the client go.
            let middlewares = self.sockets.look(key, |local| local.middlewares.clone()).unwrap_or_default();
            return self.pass(
                Passage { socket, middlewares, is_answered, successor: Rc::default() },
                0,
                message,
                received,
            );
        }
        let local = self.sockets.look(key, |local| local.take_matching(&name)).unwrap_or_default();
        let snapshot = self.snapshot();
        let table = snapshot.view.table(socket.namespace_id());
        let shared = table.map_or(&[][..], |table| table.handlers(&Occasion::Event(&name)));
        let mut context = EventContext::new(&socket, &name, arguments(message, data));
        context.set_ack(message.id, local.len() + shared.len() > 1);
        for handler in &local {
            self.run(&**handler, &context);
        }
        for listener in shared {
            self.run(&*listener.handler, &context);
        }
    }

    /// Runs the handlers of a name: the socket's, then the namespace's.
    pub(crate) fn dispatch(self: &Rc<Self>, socket: &Socket, name: &str, context: &EventContext<'_>) {
        let local = self.sockets.look(socket.key(), |local| local.take_matching(name)).unwrap_or_default();
        for handler in &local {
            self.run(&**handler, context);
        }
        let snapshot = self.snapshot();
        let table = snapshot.view.table(socket.namespace_id());
        for listener in table.map_or(&[][..], |table| table.handlers(&Occasion::Event(name))) {
            self.run(&*listener.handler, context);
        }
    }

    fn handle_leaving(self: &Rc<Self>, key: SocketKey, occasion: &Occasion<'_>, cause: Cause) {
        let Some(socket) = self.socket(key) else { return };
        let name = if matches!(occasion, Occasion::Disconnecting) { "disconnecting" } else { "disconnect" };
        let local = self.sockets.look(key, |local| local.take_matching(name)).unwrap_or_default();
        let snapshot = self.snapshot();
        let table = snapshot.view.table(socket.namespace_id());
        let shared = table.map_or(&[][..], |table| table.handlers(occasion));
        let mut context = EventContext::new(&socket, name, Arguments::NONE);
        context.set_cause(cause);
        for handler in &local {
            self.run_counted(&**handler, &context, None);
        }
        for listener in shared {
            self.run_counted(&*listener.handler, &context, None);
        }
        if matches!(occasion, Occasion::Disconnect) && self.shared.settings.options.recovery.is_some() {
            let data = self.sockets.look(key, |local| std::mem::take(&mut local.data)).unwrap_or_default();
            self.with_core(|core| core.keep_data(key, Arc::new(data)));
        }
    }

    /// Runs one handler for one event of a client.
    pub(crate) fn run(self: &Rc<Self>, handler: &dyn ErasedHandler, context: &EventContext<'_>) {
        self.run_counted(handler, context, Some(context.socket().key()));
    }

    /// Runs one handler; what waits counts for `socket`, if it is an event's. The events of a client are its own doing: where it may have
    /// no more of them under way, the next one does not begin.
    fn run_counted(
        self: &Rc<Self>,
        handler: &dyn ErasedHandler,
        context: &EventContext<'_>,
        socket: Option<SocketKey>,
    ) {
        let called = catch_unwind(AssertUnwindSafe(|| handler.call(context)));
        match self.settle(called) {
            Ok(Outcome::Done) => {}
            Ok(Outcome::Pending(future)) if socket.is_none() || self.background.has_room(socket) => {
                let (heard_by, event) = (context.socket().clone(), Box::<str>::from(context.name()));
                self.start(socket, future, move |app, result| {
                    if let Err(error) = result.and_then(|result| result) {
                        app.report(&heard_by, &event, &error);
                    }
                });
            }
            Ok(Outcome::Pending(_)) => self.report(context.socket(), context.name(), &HandlerError::Overloaded),
            Err(error) => self.report(context.socket(), context.name(), &error),
        }
    }

    /// A caught panic as the error of one event; stops the process if it was the core's.
    pub(crate) fn settle<T>(
        &self,
        caught: Result<Result<T, HandlerError>, Box<dyn Any + Send>>,
    ) -> Result<T, HandlerError> {
        caught.unwrap_or_else(|panic| {
            let text = panic_text(&*panic);
            if self.is_in_core.get() {
                tracing::error!(panic = %text, "the engine's own state is broken: stopping the process");
                std::process::abort();
            }
            Err(HandlerError::Panicked(text.into_owned()))
        })
    }

    fn report(&self, socket: &Socket, event: &str, error: &HandlerError) {
        match error {
            // The client's fault, and it could send such events by the million: counted, not logged aloud.
            HandlerError::Argument(ArgumentError::Mismatch { .. }) | HandlerError::Overloaded => {
                tracing::debug!(socket = socket.id(), event, %error, "an event did not reach its handler");
            }
            _ => tracing::error!(socket = socket.id(), event, %error, "an event was not handled"),
        }
        let hook = catch_unwind(AssertUnwindSafe(|| self.shared.report(socket, event, error)));
        if let Err(error) = self.settle(hook.map(Ok)) {
            tracing::error!(%error, "the hook for handler errors panicked");
        }
    }

    /// Runs code of the user that is no handler; a panic of it is logged as this `failure`.
    pub(crate) fn guard(&self, failure: &'static str, run: impl FnOnce()) {
        let caught = catch_unwind(AssertUnwindSafe(run));
        if let Err(error) = self.settle(caught.map(Ok)) {
            tracing::error!(%error, "{failure}");
        }
    }

    fn resolve_ack(&self, waiter: u64, answer: Result<Arguments<'_>, AckError>) {
        let Some(Waiter::Ack(resolve)) = self.waiters.take(waiter) else { return };
        // Decoding runs code of the user's types.
        self.guard("an acknowledgement could not be decoded", || resolve(answer));
    }

    fn describe_sockets(&self, request: FetchRequest, sockets: &[SocketKey]) {
        let mut descriptions = Vec::with_capacity(sockets.len());
        for key in sockets {
            let Some(mut description) = self.with_core(|core| core.describe(*key)) else { continue };
            description.data = crate::data::to_json(self, *key);
            descriptions.push(description);
        }
        self.with_core(|core| core.reply_fetch(request, descriptions));
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("index", &self.index).finish_non_exhaustive()
    }
}

impl Host for App {
    fn tokio(&self) -> &TokioContext {
        &self.shared.tokio
    }

    fn decide(&self, connection: ConnectionKey, verdict: Verdict) {
        self.with_core(|core| core.decide(connection, verdict));
    }
}

/// What a client says that comes back, beside its auth fields.
#[derive(serde::Deserialize)]
struct Former {
    pid: String,
    offset: String,
}

fn former_of(auth: &[u8]) -> Option<Former> {
    serde_json::from_slice(auth).ok()
}

pub(crate) fn arguments<'a>(message: &'a Message, data: &'a [u8]) -> Arguments<'a> {
    let bounds = message.arguments.start as usize..message.arguments.end as usize;
    Arguments { json: &data[bounds], count: message.argument_count, attachments: &message.attachments }
}

pub(crate) fn event_name<'a>(message: &Message, data: &'a [u8]) -> Cow<'a, str> {
    let (start, end) = (message.name.start as usize, message.name.end as usize);
    if message.name_has_escapes {
        // With its quotes. Lone surrogates are valid JSON and no text: such a name has no handler.
        return serde_json::from_slice(&data[start - 1..end + 1]).map_or(Cow::Borrowed(""), Cow::Owned);
    }
    Cow::Borrowed(std::str::from_utf8(&data[start..end]).expect("the core hands on text only"))
}

fn panic_text<'a>(panic: &'a (dyn Any + Send)) -> Cow<'a, str> {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => Cow::Borrowed(text),
        (_, Some(text)) => Cow::Borrowed(text),
        _ => Cow::Borrowed("without a message"),
    }
}
