//! The Tokio runtime that async handlers find around them.
//!
//! Handlers run on the shards, not on Tokio; but `tokio::time`, `tokio::net` and everything built on them need a
//! runtime whose drivers wait for timers and sockets. It is the operator's own if one was given, and else one worker
//! thread of ours, made when the first async handler runs.

use std::sync::OnceLock;
use tokio::runtime::{Builder, Handle, Runtime};

pub(crate) struct TokioContext {
    given: Option<Handle>,
    own: OnceLock<Option<Runtime>>,
}

impl TokioContext {
    pub(crate) const fn new(given: Option<Handle>) -> Self {
        Self { given, own: OnceLock::new() }
    }

    /// The runtime to enter; None if it cannot be made, which is logged once.
    pub(crate) fn handle(&self) -> Option<&Handle> {
        if let Some(handle) = &self.given {
            return Some(handle);
        }
        let own = self.own.get_or_init(|| {
            let runtime =
                Builder::new_multi_thread().worker_threads(1).thread_name("ringio-tokio").enable_all().build();
            runtime
                .inspect_err(
                    |error| tracing::error!(%error, "async handlers run without Tokio: its runtime cannot be made"),
                )
                .ok()
        });
        own.as_ref().map(Runtime::handle)
    }
}

impl Drop for TokioContext {
    fn drop(&mut self) {
        // The last handle may be dropped by a task of some runtime, where waiting for threads would panic.
        if let Some(Some(runtime)) = self.own.take() {
            runtime.shutdown_background();
        }
    }
}
