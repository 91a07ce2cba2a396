//! What all shards of a server and all its handles hold in common.
//!
//! Everything here is read-mostly or rarely touched: the shards' own path takes no lock of it.

use crate::address::Address;
use crate::application::ShardApplication;
use crate::background::Seats;
use crate::closing::Ended;
use crate::cluster::{Gateway, PublishError, RoomListeners, ServerSideListeners};
use crate::error::{EmitError, HandlerError};
use crate::hooks::Hooks;
use crate::listener::ListenerId;
use crate::registry::Registry;
use crate::tokio_context::TokioContext;
use crate::{Driver, Namespace, Socket};
use parking_lot::RwLock;
use ringio_core::options::{Asset, Options};
use ringio_runtime::budgets::Limits;
use ringio_runtime::injector::InjectError;
use ringio_runtime::shard_thread::{self, Running};
use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What an operator has chosen; fixed from the building of the server on.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) options: Arc<Options>,
    pub(crate) assets: Arc<Vec<Asset>>,
    pub(crate) hooks: Arc<Hooks>,
    pub(crate) shard_count: u16,
    pub(crate) driver: Driver,
    pub(crate) pin_threads: bool,
    pub(crate) busy_poll: Duration,
    pub(crate) drain_ms: u64,
    pub(crate) dynamic_namespaces_max: usize,
    pub(crate) cleanup_empty_child_namespaces: bool,
    pub(crate) requests_timeout_ms: u64,
    pub(crate) seats: Seats,
    pub(crate) budgets: Limits,
}

impl Settings {
    pub(crate) fn for_runtime(&self, addresses: Vec<Address>) -> shard_thread::Settings {
        shard_thread::Settings {
            shard_count: self.shard_count,
            driver: self.driver,
            pin_threads: self.pin_threads,
            busy_poll: self.busy_poll,
            endpoints: addresses.into_iter().map(|address| address.0).collect(),
            options: Arc::clone(&self.options),
            assets: Arc::clone(&self.assets),
            drain_ms: self.drain_ms,
            budgets: self.budgets,
        }
    }
}

/// Values for the `State` extractor, by type.
pub(crate) type States = HashMap<TypeId, Arc<dyn Any + Send + Sync>>;

type NamespaceHook = Arc<dyn Fn(&Namespace) + Send + Sync>;

type ErrorHook = Arc<dyn Fn(&Socket, &str, &HandlerError) + Send + Sync>;

/// How often handlers did not do their work, over all shards.
///
/// ```
/// let counters = ringio::Server::new().handler_counters();
/// assert_eq!((counters.failed, counters.panicked, counters.overloaded), (0, 0, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandlerCounters {
    /// Events that reached no handler because an extractor could not give what it asks for.
    pub arguments_refused: u64,
    /// Handlers that returned an error.
    pub failed: u64,
    /// Handlers that panicked.
    pub panicked: u64,
    /// Async handlers that did not run because too many wait.
    pub overloaded: u64,
}

#[derive(Default)]
struct AtomicCounters {
    arguments_refused: AtomicU64,
    failed: AtomicU64,
    panicked: AtomicU64,
    overloaded: AtomicU64,
}

pub(crate) struct Shared {
    pub(crate) registry: Registry,
    pub(crate) settings: Settings,
    pub(crate) tokio: TokioContext,
    /// How this server speaks to others, if it does.
    pub(crate) cluster: Option<Gateway>,
    pub(crate) server_side: ServerSideListeners,
    pub(crate) rooms: RoomListeners,
    states: States,
    error_hook: RwLock<Option<ErrorHook>>,
    namespace_hooks: RwLock<Vec<(ListenerId, NamespaceHook)>>,
    counters: AtomicCounters,
    is_started: AtomicBool,
    /// `close` may come before the shards run.
    is_closing: AtomicBool,
    running: OnceLock<Running<ShardApplication>>,
    pub(crate) ended: Ended,
}

impl Shared {
    pub(crate) fn new(settings: Settings, states: States, tokio: TokioContext, cluster: Option<Gateway>) -> Self {
        Self {
            registry: Registry::new(),
            settings,
            tokio,
            cluster,
            server_side: ServerSideListeners::default(),
            rooms: RoomListeners::default(),
            states,
            error_hook: RwLock::new(None),
            namespace_hooks: RwLock::default(),
            counters: AtomicCounters::default(),
            is_started: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            running: OnceLock::new(),
            ended: Ended::default(),
        }
    }

    pub(crate) fn state<S: Send + Sync + 'static>(&self) -> Option<Arc<S>> {
        let state = Arc::clone(self.states.get(&TypeId::of::<S>())?);
        state.downcast().ok()
    }

    pub(crate) fn set_error_hook(&self, hook: ErrorHook) {
        *self.error_hook.write() = Some(hook);
    }

    pub(crate) fn add_namespace_hook(&self, hook: NamespaceHook) -> ListenerId {
        let id = self.registry.next_listener();
        self.namespace_hooks.write().push((id, hook));
        id
    }

    pub(crate) fn remove_namespace_hook(&self, hook: ListenerId) {
        let removed: Vec<_> = self.namespace_hooks.write().extract_if(.., |(id, _)| *id == hook).collect();
        drop(removed);
    }

    /// Tells everyone who listens of a namespace that has just been made.
    pub(crate) fn tell_new_namespace(&self, namespace: &Namespace) {
        self.open_namespace(&namespace.shared_name());
        let hooks = self.namespace_hooks.read().clone();
        for (_, hook) in hooks {
            hook(namespace);
        }
    }

    /// Forgets hooks: they may own the server that owns them.
    pub(crate) fn clear_hooks(&self) {
        let hooks = (std::mem::take(&mut *self.namespace_hooks.write()), self.error_hook.write().take());
        drop(hooks);
        self.server_side.clear();
        self.rooms.clear();
    }

    /// Counts an event that was not handled to its end, and tells the hook.
    pub(crate) fn report(&self, socket: &Socket, event: &str, error: &HandlerError) {
        let counter = match error {
            HandlerError::Argument(_) => &self.counters.arguments_refused,
            HandlerError::Failed(_) => &self.counters.failed,
            HandlerError::Panicked(_) => &self.counters.panicked,
            HandlerError::Overloaded => &self.counters.overloaded,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let hook = self.error_hook.read().clone();
        if let Some(hook) = hook {
            hook(socket, event, error);
        }
    }

    pub(crate) fn handler_counters(&self) -> HandlerCounters {
        HandlerCounters {
            arguments_refused: self.counters.arguments_refused.load(Ordering::Relaxed),
            failed: self.counters.failed.load(Ordering::Relaxed),
            panicked: self.counters.panicked.load(Ordering::Relaxed),
            overloaded: self.counters.overloaded.load(Ordering::Relaxed),
        }
    }

    /// True for the first caller.
    pub(crate) fn claim_start(&self) -> bool {
        !self.is_started.swap(true, Ordering::AcqRel)
    }

    /// Lets another attempt to start be made after one that failed.
    pub(crate) fn release_start(&self) {
        self.is_started.store(false, Ordering::Release);
        self.ended.wake();
    }

    pub(crate) fn is_started(&self) -> bool {
        self.is_started.load(Ordering::Acquire)
    }

    pub(crate) fn set_running(&self, running: Running<ShardApplication>) {
        assert!(self.running.set(running).is_ok(), "only the caller that claimed the start gets here");
        self.open_namespaces();
        self.check_rooms();
        if self.is_closing.load(Ordering::SeqCst) {
            self.close();
        }
    }

    /// Asks the shards to stop, now or as soon as they run.
    pub(crate) fn close(&self) {
        self.close_over(0);
    }

    /// The same, their sessions in equal shares over this time.
    pub(crate) fn close_over(&self, spread_ms: u64) {
        self.is_closing.store(true, Ordering::SeqCst);
        if let Some(running) = self.running() {
            running.stop_over(spread_ms);
        }
    }

    /// A message went to other servers, or did not.
    pub(crate) fn report_publish(&self, published: Result<(), &PublishError>) {
        if let Some(gateway) = &self.cluster {
            gateway.report(published);
        }
    }

    /// A message of another server was not taken.
    pub(crate) fn count_refused(&self) {
        if let Some(gateway) = &self.cluster {
            gateway.count_refused();
        }
    }

    pub(crate) fn running(&self) -> Option<&Running<ShardApplication>> {
        self.running.get()
    }

    /// Lets `job` run on a shard, after what this thread gave to the same shard before.
    pub(crate) fn inject(
        &self,
        shard: u16,
        job: impl FnOnce(&ShardApplication) + Send + 'static,
    ) -> Result<(), EmitError> {
        let injector = self.running().and_then(|running| running.injectors().get(usize::from(shard)));
        let injector = injector.ok_or(EmitError::NotRunning)?;
        injector.inject(Box::new(job)).map_err(|error| match error {
            InjectError::Full => EmitError::Overloaded,
            InjectError::Stopped => EmitError::NotRunning,
        })
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("settings", &self.settings).finish_non_exhaustive()
    }
}
