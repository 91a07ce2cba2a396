//! The options of [`Builder`] that concern requests: CORS, cookie, and hooks.

use crate::connection::Connection;
use crate::engine::Message;
use crate::hooks::{Refusal, RequestHook};
use crate::options::Builder;
use crate::request::{Headers, Request, Response};
use crate::{Cookie, Cors};
use ringio_core::options::InitialPacket;
use std::sync::Arc;

impl Builder {
    /// Which pages of other origins may use the server: Node's `cors`. Default: none is named, so browsers let only pages
    /// of the same origin; preflights are refused like any request of the wrong method.
    ///
    /// ```
    /// use ringio::{Cors, CorsOrigin, Server};
    ///
    /// let origin = CorsOrigin::List(vec!["https://example.com".to_owned()]);
    /// let io = Server::builder().cors(Cors { origin, credentials: true, ..Cors::default() }).build()?;
    /// # Ok::<(), ringio::Error>(())
    /// ```
    pub fn cors(mut self, cors: Cors) -> Self {
        self.options.cors = Some(cors);
        self
    }

    /// CORS decided for each request; the answer of [`Builder::cors`] is not given then.
    ///
    /// ```
    /// use ringio::{Cors, CorsOrigin, Request, Server};
    ///
    /// let io = Server::builder()
    ///     .cors_with(|request: &Request| {
    ///         let is_ours = request.header("origin").is_some_and(|origin| origin.ends_with(".example.com"));
    ///         Cors { origin: CorsOrigin::Reflect(is_ours), ..Cors::default() }
    ///     })
    ///     .build()?;
    /// # Ok::<(), ringio::Error>(())
    /// ```
    pub fn cors_with(mut self, cors: impl Fn(&Request) -> Cors + Send + Sync + 'static) -> Self {
        self.options.cors = None;
        self.hooks.cors = Some(Arc::new(cors));
        self
    }

    /// A cookie with the session's id for load balancers, in the answer that opens a session by polling. Default: none.
    /// A session that opens on a WebSocket gets none, as in Node.
    ///
    /// Errors of [`Builder::build`]: a name, domain or path that no cookie can have.
    pub fn cookie(mut self, cookie: Cookie) -> Self {
        self.options.cookie = Some(cookie);
        self
    }

    /// Lets a session open, or refuses it with the text given: Node's `allowRequest`. Asked once for each request that
    /// would open a session, never for those of an open one. Sync or async; a second hook replaces the first.
    ///
    /// Polling hears status 403 with `{"code":4,"message":text}`, a WebSocket handshake status 400 with the text.
    ///
    /// ```
    /// use ringio::{Request, Server};
    ///
    /// let io = Server::builder()
    ///     .allow_request(|request: Request| match request.header("authorization") {
    ///         Some(_) => Ok(()),
    ///         None => Err("who are you?"),
    ///     })
    ///     .build()?;
    /// # Ok::<(), ringio::Error>(())
    /// ```
    pub fn allow_request<M>(mut self, hook: impl RequestHook<(), String, M>) -> Self {
        self.hooks.allow_request = Some(hook.into_hook());
        self
    }

    /// Names sessions: Node's `generateId`. Sync or async; a second hook replaces the first. Default: 108 random bits.
    ///
    /// Gives any text of 1 to 200 bytes; two characters that name the shard are added, because every request must find its
    /// way to it: `user:7` becomes `user:7AB`. 18 characters of `A-Z a-z 0-9 - _` become an id like the engine's own, of 20
    /// characters, by which `@socket.io/sticky` knows them. An error, any other text, or the id of an open session refuses the request
    /// with `{"code":3,"message":"Bad request"}`. Ids must not be guessed: whoever knows one can speak for its client.
    ///
    /// ```
    /// # use ringio::{Request, Server};
    /// # fn secret() -> String { "0123456789abcdef".to_owned() }
    /// let io = Server::builder().generate_id(|_: Request| Ok::<_, String>(secret())).build()?;
    /// # Ok::<(), ringio::Error>(())
    /// ```
    pub fn generate_id<M>(mut self, hook: impl RequestHook<String, String, M>) -> Self {
        self.hooks.generate_id = Some(hook.into_hook());
        self
    }

    /// Sees every request of Engine.IO before anything is checked, WebSocket handshakes among them: Node's
    /// `engine.use`. `Ok` with [`Headers`] (or `()`) lets it go on, its answer carries them; `Err` with a [`Response`] ends
    /// it. Sync or async; they run in the order in which they were added.
    ///
    /// ```
    /// use ringio::{Headers, Request, Response, Server};
    ///
    /// let io = Server::builder()
    ///     .request_middleware(async |request: Request| {
    ///         if request.header("x-blocked").is_some() {
    ///             return Err(Response::new(403).body("no"));
    ///         }
    ///         let mut headers = Headers::new();
    ///         headers.append("X-Frame-Options", "SAMEORIGIN");
    ///         Ok(headers)
    ///     })
    ///     .build()?;
    /// # Ok::<(), ringio::Error>(())
    /// ```
    pub fn request_middleware<M>(mut self, hook: impl RequestHook<Headers, Response, M>) -> Self {
        self.hooks.middlewares.push(hook.into_hook());
        self
    }

    /// Adds header fields to the answer that opens a session: Node's `initial_headers`. Called when the request has been
    /// let in, before the answer is known.
    pub fn on_initial_headers(mut self, hook: impl Fn(&Request, &mut Headers) + Send + Sync + 'static) -> Self {
        self.hooks.initial_headers.push(Arc::new(hook));
        self
    }

    /// Adds header fields to the answers of sessions, the WebSocket handshake's 101 among them: Node's `headers`. Called
    /// when the request comes, before the answer is known; for a session's first one after
    /// [`on_initial_headers`](Self::on_initial_headers).
    pub fn on_headers(mut self, hook: impl Fn(&Request, &mut Headers) + Send + Sync + 'static) -> Self {
        self.hooks.headers.push(Arc::new(hook));
        self
    }

    /// Calls `listener` for every session that opens, before it joins a namespace: `connection` of Node's `io.engine`. It runs on the
    /// session's shard, inline.
    ///
    /// ```no_run
    /// use ringio::{Connection, Server};
    ///
    /// let io = Server::builder()
    ///     .on_engine_connection(|conn: &Connection| {
    ///         println!("{} by {}", conn.id(), conn.transport().as_str());
    ///         conn.on_close(|reason, _| println!("gone: {reason}"));
    ///     })
    ///     .build()?;
    /// # Ok::<(), ringio::Error>(())
    /// ```
    pub fn on_engine_connection(mut self, listener: impl Fn(&Connection) + Send + Sync + 'static) -> Self {
        self.hooks.sessions.push(Arc::new(listener));
        self
    }

    /// A message that every session gets right behind its OPEN packet, in the same answer when it polls: Node's `initialPacket`. Default:
    /// none. Clients of Socket.IO read it as a packet of theirs.
    ///
    /// ```
    /// use ringio::Server;
    /// use ringio::engine::{EngineServer, Message};
    ///
    /// let engine = EngineServer::builder().initial_packet(Message::Text("faster!")).build_engine()?;
    /// # Ok::<(), ringio::Error>(())
    /// ```
    pub fn initial_packet(mut self, message: Message<'_>) -> Self {
        let (data, is_binary) = match message {
            Message::Text(text) => (text.as_bytes(), false),
            Message::Binary(bytes) => (bytes, true),
        };
        self.options.initial_packet = Some(InitialPacket { data: Arc::from(data), is_binary });
        self
    }

    /// Hears of requests that Engine.IO has refused: Node's `connection_error`. It runs on the shard, inline.
    pub fn on_connection_error(mut self, hook: impl Fn(&Refusal) + Send + Sync + 'static) -> Self {
        self.hooks.refusals.push(Arc::new(hook));
        self
    }
}
