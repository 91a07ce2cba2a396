//! What hooks leave with a request for the socket that it opens: Node's `req.user`, read as `socket.request.user`.
//!
//! ```text
//! request_middleware, allow_request --insert--> request --opens a session--> socket.handshake().extensions()
//! ```
//! It is kept with the session's first request, which the session has anyway, and costs nothing until used. Handshakes are read on any
//! thread (`RemoteSocket`), so values are `Send + Sync`, behind a lock.
//!
//! The last reference to a request is often the core's, when a session ends. Code of the user must not run there, and `drop` may be
//! such: on a shard's thread values are handed to its executor.

use crate::by_type::ByType;
use crate::request::Request;
use parking_lot::RwLock;
use ringio_core::door::HandshakeRequest;
use ringio_runtime::executor::Executor;
use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

type Value = Arc<dyn Any + Send + Sync>;

/// Values that hooks and handlers keep with a request: at most one of each type, seen by all who see the request.
///
/// What a [`request_middleware`](crate::Builder::request_middleware) or [`allow_request`](crate::Builder::allow_request) inserts, the later
/// hooks of that request see, and, if it opens a session, [`handshake`](crate::Socket::handshake) of all its sockets, as long as the session lives
/// and through an upgrade. Of later requests of the session it is not, as in Node: each of them has its own. On other servers a
/// `RemoteSocket` has none.
///
/// ```no_run
/// use ringio::{HttpExtension, Request, Server, Socket};
///
/// #[derive(Clone)]
/// struct User(u64);
///
/// # async fn user_of(cookie: &str) -> Option<User> { Some(User(7)) }
/// let io = Server::builder()
///     .allow_request(async |request: Request| {
///         let user = user_of(request.header("cookie").unwrap_or_default()).await.ok_or("who are you?")?;
///         request.extensions().insert(user);
///         Ok::<_, &str>(())
///     })
///     .build()?;
/// io.with_middleware(|socket: Socket| match socket.handshake().extensions().get::<User>() {
///     Some(User(1)) => Err("not you"),
///     _ => Ok(()),
/// });
/// io.sockets_on("whoami", |socket: Socket, HttpExtension(user): HttpExtension<User>| socket.emit("you", &user.0));
/// # Ok::<(), ringio::Error>(())
/// ```
///
/// A hook may take out what one before it has left:
///
/// ```
/// # use ringio::Request;
/// # use std::time::Instant;
/// fn began(request: &Request) -> Option<Instant> {
///     let extensions = request.extensions();
///     if extensions.contains::<Instant>() { extensions.remove() } else { None }
/// }
/// ```
#[derive(Clone, Copy)]
pub struct RequestExtensions<'a> {
    request: &'a HandshakeRequest,
}

impl RequestExtensions<'_> {
    /// Sets the value of type `T` and returns the one before, unless [`get`](Self::get) is cloning it.
    pub fn insert<T: Send + Sync + 'static>(&self, value: T) -> Option<T> {
        let values = self.request.kept.value_or(|| Box::new(Values::default()));
        let before = values.downcast_ref::<Values>()?.0.write().insert(TypeId::of::<T>(), Arc::new(value));
        owned(before?)
    }

    /// A clone of the value of type `T`.
    #[must_use]
    pub fn get<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        // Counted while it is cloned: `clone` is code of the user and may change the extensions itself.
        self.find::<T>()?.downcast_ref::<T>().cloned()
    }

    /// Whether there is a value of type `T`.
    #[must_use]
    pub fn contains<T: Send + Sync + 'static>(&self) -> bool {
        self.find::<T>().is_some()
    }

    /// Removes the value of type `T` and returns it, unless [`get`](Self::get) is cloning it.
    pub fn remove<T: Send + Sync + 'static>(&self) -> Option<T> {
        let removed = self.values()?.0.write().remove(TypeId::of::<T>());
        owned(removed?)
    }

    fn find<T: 'static>(&self) -> Option<Value> {
        self.values()?.0.read().find(TypeId::of::<T>()).map(Arc::clone)
    }

    fn values(&self) -> Option<&Values> {
        self.request.kept.value()?.downcast_ref()
    }
}

impl Request {
    /// What hooks have left with it, and may leave.
    ///
    /// ```
    /// # use ringio::{Request, Response, Server};
    /// let io = Server::builder()
    ///     .request_middleware(|request: Request| {
    ///         request.extensions().insert(std::time::Instant::now());
    ///         Ok::<_, Response>(())
    ///     })
    ///     .build()?;
    /// # Ok::<(), ringio::Error>(())
    /// ```
    #[must_use]
    pub fn extensions(&self) -> RequestExtensions<'_> {
        RequestExtensions { request: &self.0 }
    }
}

impl std::fmt::Debug for RequestExtensions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the request: it holds cookies and tokens.
        f.debug_struct("RequestExtensions").finish_non_exhaustive()
    }
}

fn owned<T: Send + Sync + 'static>(value: Value) -> Option<T> {
    value.downcast().ok().and_then(Arc::into_inner)
}

#[derive(Default)]
struct Values(RwLock<ByType<Value>>);

impl Drop for Values {
    fn drop(&mut self) {
        let values = std::mem::take(self.0.get_mut());
        let executor = EXECUTOR.try_with(|executor| executor.borrow().clone()).ok().flatten();
        let Some(executor) = executor else { return drop(values) };
        executor.spawn(async move {
            if catch_unwind(AssertUnwindSafe(|| drop(values))).is_err() {
                tracing::error!("an extension of a request panicked when it was dropped");
            }
        });
    }
}

thread_local! {
    /// The executor of the shard that this thread is.
    static EXECUTOR: RefCell<Option<Executor>> = const { RefCell::new(None) };
}

/// From now on what falls out of use on this thread is dropped by this executor, or at once.
pub(crate) fn drop_on(executor: Option<Executor>) {
    let before = EXECUTOR.replace(executor);
    drop(before);
}
