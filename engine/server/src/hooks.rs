//! What an operator's code decides about requests before Engine.IO takes them: Node's `engine.use`, dynamic CORS,
//! `allowRequest`, `generateId`, `initial_headers`, `headers`, `connection_error`.
//!
//! ```text
//! every request:   CORS --> middlewares in their order --> headers (of a session's later requests)
//! a handshake:     allow_request --> generate_id --> initial_headers --> headers
//! ```
//! Hooks are given before the server is built and run on the shard that the request reached. They may be async; the
//! request waits for them, 30 s at most, and costs nobody else anything. One that panics refuses its request.

use crate::connection::Connection;
use crate::handler::{AsyncMarker, SyncMarker};
use crate::request::{Headers, Request, Response};
use ringio_codec::http::cors::{self, CorsOptions};
use ringio_codec::http::request::Method;
use ringio_codec::http::{EngineError, response};
use ringio_core::base::id::ShardIndex;
use ringio_core::base::seed::{CHOSEN_BYTES_MAX, ChosenId};
use ringio_core::door::{Stage, Verdict};
use ringio_core::options;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A hook's answer, given at once or awaited.
#[doc(hidden)]
pub type HookFuture<R> = Pin<Box<dyn Future<Output = R>>>;

type Hook<R> = Arc<dyn Fn(Request) -> HookFuture<R> + Send + Sync>;
type HeadersHook = Arc<dyn Fn(&Request, &mut Headers) + Send + Sync>;
type RefusalHook = Arc<dyn Fn(&Refusal) + Send + Sync>;
type SessionHook = Arc<dyn Fn(&Connection) + Send + Sync>;
type CorsHook = Arc<dyn Fn(&Request) -> CorsOptions + Send + Sync>;

/// A closure or function, sync or async, from [`Request`] to `Result<T, E>`, with what becomes `V` and `F`.
///
/// `M` only tells the compiler which of the implementations is meant.
///
/// ```
/// # use ringio::{Request, Server};
/// async fn is_known(request: Request) -> Result<(), String> {
///     match request.query("key") {
///         Some(key) if key == "secret" => Ok(()),
///         _ => Err("who are you?".to_owned()),
///     }
/// }
///
/// let io = Server::builder().allow_request(is_known).build()?;
/// # Ok::<(), ringio::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "this is no hook for requests",
    note = "a hook is `|request: Request| -> Result<_, _>` or async, and Send + Sync"
)]
pub trait RequestHook<V, F, M>: Sized + Send + Sync + 'static {
    /// For all shards.
    #[doc(hidden)]
    fn into_hook(self) -> Arc<dyn Fn(Request) -> HookFuture<Result<V, F>> + Send + Sync>;
}

impl<C, V, F, T, E> RequestHook<V, F, SyncMarker<(T, E)>> for C
where
    C: Fn(Request) -> Result<T, E> + Send + Sync + 'static,
    T: Into<V>,
    E: Into<F>,
    V: 'static,
    F: 'static,
{
    fn into_hook(self) -> Hook<Result<V, F>> {
        Arc::new(move |request| {
            let answer = self(request).map(Into::into).map_err(Into::into);
            Box::pin(std::future::ready(answer))
        })
    }
}

impl<C, V, F, T, E> RequestHook<V, F, AsyncMarker<(T, E)>> for C
where
    C: AsyncFn(Request) -> Result<T, E> + Send + Sync + 'static,
    T: Into<V> + 'static,
    E: Into<F> + 'static,
    V: 'static,
    F: 'static,
{
    fn into_hook(self) -> Hook<Result<V, F>> {
        let hook = Arc::new(self);
        Arc::new(move |request| {
            let hook = Arc::clone(&hook);
            Box::pin(async move { hook(request).await.map(Into::into).map_err(Into::into) })
        })
    }
}

/// A request that Engine.IO has refused: Node's `connection_error`.
///
/// ```
/// # use ringio::{Refusal, Server};
/// let io = Server::builder()
///     .on_connection_error(|refusal: &Refusal| {
///         println!("{} {}: {}", refusal.code(), refusal.message(), refusal.context());
///         println!("{:?} asked for {}", refusal.request().address(), refusal.request().url());
///         println!("{:?}", refusal.reason()); // what allow_request said
///     })
///     .build()?;
/// # Ok::<(), ringio::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Refusal {
    pub(crate) request: Request,
    pub(crate) error: EngineError,
    pub(crate) context: &'static str,
    pub(crate) message: Option<String>,
}

impl Refusal {
    /// The request.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.request
    }

    /// The code on the wire: 0 unknown transport, 1 unknown sid, 2 bad handshake method, 3 bad request, 4 forbidden,
    /// 5 unsupported protocol version.
    #[must_use]
    pub const fn code(&self) -> u8 {
        self.error.code()
    }

    /// The code's text: `Session ID unknown`.
    #[must_use]
    pub const fn message(&self) -> &'static str {
        self.error.message()
    }

    /// What exactly was wrong, in Node's words where it has one: `TRANSPORT_MISMATCH`, `INVALID_ORIGIN`.
    #[must_use]
    pub const fn context(&self) -> &'static str {
        self.context
    }

    /// What `allow_request` or `generate_id` said.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.message.as_deref()
    }
}

/// All hooks of a server.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) cors: Option<CorsHook>,
    pub(crate) middlewares: Vec<Hook<Result<Headers, Response>>>,
    pub(crate) allow_request: Option<Hook<Result<(), String>>>,
    pub(crate) generate_id: Option<Hook<Result<String, String>>>,
    pub(crate) initial_headers: Vec<HeadersHook>,
    pub(crate) headers: Vec<HeadersHook>,
    pub(crate) refusals: Vec<RefusalHook>,
    pub(crate) sessions: Vec<SessionHook>,
}

impl Hooks {
    /// What the core has to ask for.
    pub(crate) fn wanted(&self) -> options::Hooks {
        options::Hooks {
            requests: self.cors.is_some() || !self.middlewares.is_empty() || !self.headers.is_empty(),
            sessions: !self.sessions.is_empty(),
            handshakes: self.allow_request.is_some()
                || self.generate_id.is_some()
                || !self.initial_headers.is_empty()
                || !self.headers.is_empty(),
            refusals: !self.refusals.is_empty(),
        }
    }

    /// The verdict about a request. Runs code of the user.
    pub(crate) async fn decide(self: Arc<Self>, request: Request, stage: Stage, shard: ShardIndex) -> Verdict {
        let mut fields = Vec::new();
        let decided = match stage {
            Stage::Request => self.look_at(&request, &mut fields).await.map(|()| None),
            Stage::Handshake => self.let_in(&request, shard, &mut fields).await,
        };
        match decided {
            Ok(sid) => Verdict::Pass { fields, sid },
            Err(Ending::Refused(error, message, context)) => {
                Verdict::Refuse { error, message: Some(message), context, fields }
            }
            Err(Ending::Answered(response)) => {
                response.headers.write(&mut fields);
                Verdict::Answer { status: response.status, fields, body: response.body }
            }
        }
    }

    async fn look_at(&self, request: &Request, fields: &mut Vec<u8>) -> Result<(), Ending> {
        if let Some(cors) = &self.cors {
            let options = cors(request);
            let head = request.head();
            let is_preflight = head.method == Method::Options;
            let headers =
                if is_preflight { cors::preflight(&options, &head) } else { Some(cors::actual(&options, &head)) };
            let is_answered = is_preflight && headers.is_some() && !options.preflight_continue;
            for (name, value) in headers.into_iter().flatten() {
                response::write_headers(fields, &[(name, &value)]);
            }
            if is_answered {
                return Err(Ending::Answered(Response::new(options.options_success_status)));
            }
        }
        for middleware in &self.middlewares {
            middleware(request.clone()).await.map_err(Ending::Answered)?.write(fields);
        }
        if request.query("sid").is_some() {
            write_all(&self.headers, request, fields);
        }
        Ok(())
    }

    async fn let_in(
        &self,
        request: &Request,
        shard: ShardIndex,
        fields: &mut Vec<u8>,
    ) -> Result<Option<ChosenId>, Ending> {
        if let Some(allow) = &self.allow_request {
            allow(request.clone())
                .await
                .map_err(|message| Ending::Refused(EngineError::Forbidden, message, "FORBIDDEN"))?;
        }
        let sid = match &self.generate_id {
            None => None,
            Some(generate) => Some(generated(generate(request.clone()).await, shard)?),
        };
        write_all(&self.initial_headers, request, fields);
        write_all(&self.headers, request, fields);
        Ok(sid)
    }
}

/// The sid that `generate_id` gave. What was wrong is for the log and `connection_error`, not for the client.
fn generated(id: Result<String, String>, shard: ShardIndex) -> Result<ChosenId, Ending> {
    let refused = || {
        let error = EngineError::BadRequest;
        Ending::Refused(error, error.message().to_owned(), "ID_GENERATION_ERROR")
    };
    let id = id.map_err(|error| {
        tracing::error!(%error, "generate_id failed");
        refused()
    })?;
    ChosenId::new(&id, shard).ok_or_else(|| {
        tracing::error!(id, "generate_id must give 1 to {CHOSEN_BYTES_MAX} bytes");
        refused()
    })
}

/// How a request ends before Engine.IO sees it.
enum Ending {
    Refused(EngineError, String, &'static str),
    Answered(Response),
}

fn write_all(hooks: &[HeadersHook], request: &Request, fields: &mut Vec<u8>) {
    if hooks.is_empty() {
        return;
    }
    let mut headers = Headers::new();
    for hook in hooks {
        hook(request, &mut headers);
    }
    headers.write(fields);
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hooks").field("wanted", &self.wanted()).finish_non_exhaustive()
    }
}
