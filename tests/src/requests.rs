//! The suites `requests` and `cookies` of the conformance program: CORS, cookie and every hook for requests.

use parking_lot::Mutex;
use ringio::{Ack, Builder, Cookie, Cors, CorsOrigin, Headers, Refusal, Request, Response, Server, Socket};
use std::sync::Arc;
use std::time::Duration;

/// Code, context and reason of the refusals so far.
pub type Refusals = Arc<Mutex<Vec<(u8, &'static str, Option<String>)>>>;

/// The options of the suite `requests`.
pub fn options(builder: Builder, refusals: &Refusals) -> Builder {
    let refusals = Arc::clone(refusals);
    builder
        .cors_with(|request: &Request| {
            let is_ours = request.header("origin").is_some_and(|origin| origin.ends_with(".a.test"));
            let origin = if is_ours { CorsOrigin::Reflect(true) } else { CorsOrigin::None };
            Cors { origin, credentials: true, ..Cors::default() }
        })
        .cookie(Cookie { max_age_seconds: Some(60), ..Cookie::default() })
        .request_middleware(|request: Request| match request.header("x-end") {
            Some("panic") => panic!("on purpose"),
            Some(text) => Err(Response::new(401).header("X-Ended", "yes").body(text)),
            None => Ok(()),
        })
        .request_middleware(async |request: Request| {
            if request.header("x-slow").is_some() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let mut headers = Headers::new();
            headers.append("X-Middleware", "yes");
            Ok::<_, Response>(headers)
        })
        .allow_request(async |request: Request| {
            if request.header("x-slow").is_some() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            match request.header("x-refuse") {
                Some(text) => Err(text.to_owned()),
                None => Ok(()),
            }
        })
        .generate_id(|request: Request| match request.query("id") {
            Some(id) if id == "fail" => Err("there is no id"),
            Some(id) => Ok(id.into_owned()),
            None => Ok(random_id()),
        })
        .on_initial_headers(|_, headers| headers.append("X-First", "yes"))
        .on_headers(|_, headers| headers.append("X-Every", "yes"))
        .on_connection_error(move |refusal: &Refusal| {
            let reason = refusal.reason().map(str::to_owned);
            refusals.lock().push((refusal.code(), refusal.context(), reason));
        })
}

/// The options of the suite `cookies`: the session's beside others that hooks set.
pub fn cookies(builder: Builder) -> Builder {
    builder
        .cookie(Cookie::default())
        .on_initial_headers(|_, headers| headers.append("set-cookie", "first=1; Path=/a"))
        .on_headers(|request, headers| {
            if request.query("sid").is_some() {
                headers.append("set-cookie", "later=2");
            }
        })
}

/// The handlers of the suite `requests`.
pub fn handlers(io: &Server, refusals: &Refusals) {
    let refusals = Arc::clone(refusals);
    io.sockets_on("echo", |socket: Socket, args: ringio::RawArgs| socket.emit("echo", &args));
    io.sockets_on("refusals", move |ack: Ack| ack.send(&*refusals.lock()));
}

fn random_id() -> String {
    use std::hash::{BuildHasher, RandomState};
    let chance = RandomState::new().hash_one(std::time::SystemTime::now());
    format!("{chance:018x}")
}
