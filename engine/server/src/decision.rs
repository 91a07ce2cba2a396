//! The hooks for requests at work for one request.
//!
//! A future that ends with a verdict for the core. It is polled at once, so that hooks that do not wait cost no hop; what
//! waits goes to the shard's executor. A hook that panics refuses its request, nothing else.

use crate::hooks::{Hooks, Refusal};
use crate::request::Request;
use crate::tokio_context::TokioContext;
use ringio_codec::http::EngineError;
use ringio_core::base::id::{ConnectionKey, ShardIndex};
use ringio_core::door::{HandshakeRequest, Stage, Verdict};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What runs hooks: the application of a shard.
pub(crate) trait Host {
    fn tokio(&self) -> &TokioContext;
    fn decide(&self, connection: ConnectionKey, verdict: Verdict);
}

/// Hooks at work for one request.
pub(crate) struct Decision<H: Host> {
    host: Rc<H>,
    connection: ConnectionKey,
    future: Pin<Box<dyn Future<Output = Verdict>>>,
}

impl<H: Host> Decision<H> {
    pub(crate) fn new(
        host: Rc<H>,
        hooks: &Arc<Hooks>,
        shard: ShardIndex,
        connection: ConnectionKey,
        request: Arc<HandshakeRequest>,
        stage: Stage,
    ) -> Self {
        let future = Box::pin(Arc::clone(hooks).decide(Request(request), stage, shard));
        Self { host, connection, future }
    }
}

impl<H: Host> Future for Decision<H> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let host = Rc::clone(&self.host);
        let polled = {
            let _entered = host.tokio().handle().map(|handle| handle.enter());
            catch_unwind(AssertUnwindSafe(|| self.future.as_mut().poll(context)))
        };
        let verdict = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(verdict)) => verdict,
            Err(_) => {
                tracing::error!("a hook for requests panicked");
                let error = EngineError::BadRequest;
                Verdict::Refuse { error, message: None, context: "MIDDLEWARE_FAILURE", fields: Vec::new() }
            }
        };
        host.decide(self.connection, verdict);
        Poll::Ready(())
    }
}

/// Too many requests wait for hooks already.
pub(crate) fn overloaded() -> Verdict {
    Verdict::Answer { status: 503, fields: b"Retry-After: 1\r\n".to_vec(), body: Vec::new() }
}

/// Tells whoever listens that a request was refused.
pub(crate) fn tell(
    hooks: &Hooks,
    request: Arc<HandshakeRequest>,
    error: EngineError,
    context: &'static str,
    message: Option<String>,
) {
    let refusal = Refusal { request: Request(request), error, context, message };
    for hook in &hooks.refusals {
        if catch_unwind(AssertUnwindSafe(|| hook(&refusal))).is_err() {
            tracing::error!("a listener of connection_error panicked");
        }
    }
}
