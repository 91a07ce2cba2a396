//! Which other origins' pages may use this server: the header fields that browsers ask for and obey.
//!
//! ```text
//! OPTIONS (preflight)   Allow-Origin, Vary, Allow-Credentials, Allow-Methods, Allow-Headers, Max-Age, Expose-Headers; 204
//! anything else         Allow-Origin, Vary, Allow-Credentials, Expose-Headers; and the request goes on
//! ```
//!
//! The fields, their values and their order are those of the npm package `cors` 2.8.6, which the official server takes its
//! option from. Nothing is refused here: it is the browser that keeps a page from an answer without its origin in it.
//! Source: Fetch Standard, section 3.3.

use super::request::Request;
use smallvec::SmallVec;
use std::borrow::Cow;

/// Which origins are allowed. Exact texts such as `https://example.com`, without a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CorsOrigin {
    /// No field at all is written: the engine answers as if there were no CORS (`false` in Node).
    None,
    /// Every origin, said as `*`. Browsers do not combine it with credentials.
    #[default]
    Any,
    /// This one, whoever asks.
    Fixed(String),
    /// Those listed; the one that asks is written back if it is listed.
    List(Vec<String>),
    /// The one that asks is written back if this says so: `true` as in Node, and the answer of a caller that
    /// decides by a pattern or a function of its own.
    Reflect(bool),
}

/// What the option `cors` holds. The default is that of Node's `cors: {}`: any origin, any header, no credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorsOptions {
    /// Which origins are allowed. Default [`CorsOrigin::Any`].
    pub origin: CorsOrigin,
    /// Methods that a preflight allows; none written if empty. Default GET, HEAD, PUT, PATCH, POST, DELETE.
    pub methods: Vec<String>,
    /// Request headers that a preflight allows. Default `None`: those that it asks for.
    pub allowed_headers: Option<Vec<String>>,
    /// Response headers that pages may read, beyond the ones they may anyway. Default none.
    pub exposed_headers: Vec<String>,
    /// Whether pages may send cookies. Default `false`.
    pub credentials: bool,
    /// How long a browser may keep a preflight's answer. Seconds, default `None`: its own default (5).
    pub max_age_seconds: Option<u64>,
    /// Whether a preflight, its fields decided, goes on to the engine instead of being answered. Default `false`.
    pub preflight_continue: bool,
    /// The status that answers a preflight. Default 204; 200 for browsers that choke on it.
    pub options_success_status: u16,
}

impl Default for CorsOptions {
    fn default() -> Self {
        let methods = ["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"];
        Self {
            origin: CorsOrigin::default(),
            methods: methods.map(str::to_owned).to_vec(),
            allowed_headers: None,
            exposed_headers: Vec::new(),
            credentials: false,
            max_age_seconds: None,
            preflight_continue: false,
            options_success_status: 204,
        }
    }
}

/// Header fields to write, names and values, in their order.
pub type CorsHeaders<'a> = SmallVec<[(&'static str, Cow<'a, str>); 8]>;

/// The fields of the answer to a preflight: a request whose method is OPTIONS.
///
/// `None` with [`CorsOrigin::None`]: the request is not for CORS to answer. Otherwise it is answered with
/// [`CorsOptions::options_success_status`], these fields and no body, unless [`CorsOptions::preflight_continue`].
pub fn preflight<'a>(options: &'a CorsOptions, request: &Request<'a>) -> Option<CorsHeaders<'a>> {
    let mut headers = CorsHeaders::new();
    if !push_origin(&mut headers, options, request) {
        return None;
    }
    push_credentials(&mut headers, options);
    push_list(&mut headers, "Access-Control-Allow-Methods", &options.methods);
    match &options.allowed_headers {
        Some(names) => push_list(&mut headers, "Access-Control-Allow-Headers", names),
        None => {
            push_vary(&mut headers, "Access-Control-Request-Headers");
            if let Some(names) = joined(request, "access-control-request-headers").filter(|names| !names.is_empty()) {
                headers.push(("Access-Control-Allow-Headers", names));
            }
        }
    }
    if let Some(seconds) = options.max_age_seconds {
        headers.push(("Access-Control-Max-Age", Cow::Owned(seconds.to_string())));
    }
    push_list(&mut headers, "Access-Control-Expose-Headers", &options.exposed_headers);
    Some(headers)
}

/// The fields of the answer to any other request, the 101 of a WebSocket included. Empty with [`CorsOrigin::None`].
pub fn actual<'a>(options: &'a CorsOptions, request: &Request<'a>) -> CorsHeaders<'a> {
    let mut headers = CorsHeaders::new();
    if push_origin(&mut headers, options, request) {
        push_credentials(&mut headers, options);
        push_list(&mut headers, "Access-Control-Expose-Headers", &options.exposed_headers);
    }
    headers
}

/// `false` if there is no CORS at all. An origin that is not allowed gets no field but `Vary`.
fn push_origin<'a>(headers: &mut CorsHeaders<'a>, options: &'a CorsOptions, request: &Request<'a>) -> bool {
    let name = "Access-Control-Allow-Origin";
    let is_allowed = match &options.origin {
        CorsOrigin::None => return false,
        CorsOrigin::Any => {
            headers.push((name, Cow::Borrowed("*")));
            return true;
        }
        CorsOrigin::Fixed(origin) => {
            headers.push((name, Cow::Borrowed(origin)));
            push_vary(headers, "Origin");
            return true;
        }
        CorsOrigin::List(origins) => {
            joined(request, "origin").is_some_and(|asking| origins.iter().any(|origin| *origin == asking))
        }
        CorsOrigin::Reflect(is_allowed) => *is_allowed,
    };
    if let Some(asking) = joined(request, "origin").filter(|asking| is_allowed && !asking.is_empty()) {
        headers.push((name, asking));
    }
    push_vary(headers, "Origin");
    true
}

fn push_credentials(headers: &mut CorsHeaders<'_>, options: &CorsOptions) {
    if options.credentials {
        headers.push(("Access-Control-Allow-Credentials", Cow::Borrowed("true")));
    }
}

fn push_list(headers: &mut CorsHeaders<'_>, name: &'static str, items: &[String]) {
    if !items.is_empty() {
        headers.push((name, Cow::Owned(items.join(","))));
    }
}

/// Says that the answer depends on this request header, so that caches keep such answers apart.
fn push_vary(headers: &mut CorsHeaders<'_>, field: &'static str) {
    match headers.iter_mut().find(|(name, _)| *name == "Vary") {
        Some((_, fields)) => {
            let fields = fields.to_mut();
            fields.push_str(", ");
            fields.push_str(field);
        }
        None => headers.push(("Vary", Cow::Borrowed(field))),
    }
}

/// A request header's value; of several of that name, all of them with commas between. `None` if there is none, or if
/// it is not UTF-8.
fn joined<'a>(request: &Request<'a>, name: &str) -> Option<Cow<'a, str>> {
    let mut values = request.headers.get_all(name);
    let mut joined = Cow::Borrowed(std::str::from_utf8(values.next()?).ok()?);
    for value in values {
        let joined = joined.to_mut();
        joined.push_str(", ");
        joined.push_str(std::str::from_utf8(value).ok()?);
    }
    Some(joined)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::http::RequestLimits;

    /// The fields of the answer to a request with these header lines, one per line as Node writes them.
    fn written(options: &CorsOptions, method: &str, lines: &str) -> String {
        let head = format!("{method} /socket.io/ HTTP/1.1\r\n{lines}\r\n");
        let (request, _) = crate::http::request::decode(head.as_bytes(), &RequestLimits::default()).unwrap().unwrap();
        let headers = match method {
            "OPTIONS" => preflight(options, &request).expect("answered"),
            _ => actual(options, &request),
        };
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
        let mut out = Vec::new();
        crate::http::response::write_headers(&mut out, &headers);
        String::from_utf8(out).unwrap()
    }

    fn strings(items: &[&str]) -> Vec<String> {
        items.iter().map(|&item| item.to_owned()).collect()
    }

    fn with_origin(origin: CorsOrigin) -> CorsOptions {
        CorsOptions { origin, ..CorsOptions::default() }
    }

    const FROM_A: &str = "Origin: http://a.com\r\n";

    /// Every right side was printed by `cors` 2.8.6 in Node 20: without an origin and with one, then the preflights of
    /// a page that names headers and of one that does not.
    #[test]
    fn fields_are_those_of_the_npm_package() {
        let reflected = "Access-Control-Allow-Headers: x-c, x-d|";
        let fixed = CorsOptions { credentials: true, ..with_origin(CorsOrigin::Fixed("http://a.com".into())) };
        let list = CorsOptions {
            credentials: true,
            exposed_headers: strings(&["x-one", "x-two"]),
            ..with_origin(CorsOrigin::List(strings(&["http://b.com", "http://a.com"])))
        };
        let limited = CorsOptions {
            allowed_headers: Some(strings(&["x-a", "x-b"])),
            methods: strings(&["GET", "POST"]),
            max_age_seconds: Some(600),
            exposed_headers: strings(&["x-one"]),
            ..with_origin(CorsOrigin::List(strings(&["http://b.com"])))
        };
        let empty = CorsOptions {
            allowed_headers: Some(vec![]),
            methods: vec![],
            max_age_seconds: Some(0),
            ..CorsOptions::default()
        };
        let exposed =
            CorsOptions { exposed_headers: strings(&["x-one"]), max_age_seconds: Some(5), ..CorsOptions::default() };
        let any = "Access-Control-Allow-Origin: *|";
        let a = "Access-Control-Allow-Origin: http://a.com|";
        let cookies = "Access-Control-Allow-Credentials: true|";
        let vary = "Vary: Origin|";
        let vary_both = "Vary: Origin, Access-Control-Request-Headers|";
        let vary_headers = "Vary: Access-Control-Request-Headers|";
        let methods = "Access-Control-Allow-Methods: GET,HEAD,PUT,PATCH,POST,DELETE|";
        let one = "Access-Control-Expose-Headers: x-one|";
        let two = "Access-Control-Expose-Headers: x-one,x-two|";
        let limits = "Access-Control-Allow-Methods: GET,POST|Access-Control-Allow-Headers: x-a,x-b|\
                      Access-Control-Max-Age: 600|";
        let zero = "Access-Control-Max-Age: 0|";
        let five = "Access-Control-Max-Age: 5|";
        let cases: [(CorsOptions, [&[&str]; 4]); 8] = [
            (
                CorsOptions::default(),
                [&[any], &[any], &[any, methods, vary_headers, reflected], &[any, methods, vary_headers]],
            ),
            (
                fixed,
                [
                    &[a, vary, cookies],
                    &[a, vary, cookies],
                    &[a, vary_both, cookies, methods, reflected],
                    &[a, vary_both, cookies, methods],
                ],
            ),
            (
                list,
                [
                    &[vary, cookies, two],
                    &[a, vary, cookies, two],
                    &[a, vary_both, cookies, methods, reflected, two],
                    &[vary_both, cookies, methods, two],
                ],
            ),
            (
                with_origin(CorsOrigin::Reflect(true)),
                [&[vary], &[a, vary], &[a, vary_both, methods, reflected], &[vary_both, methods]],
            ),
            (
                with_origin(CorsOrigin::Reflect(false)),
                [&[vary], &[vary], &[vary_both, methods, reflected], &[vary_both, methods]],
            ),
            (limited, [&[vary, one], &[vary, one], &[vary, limits, one], &[vary, limits, one]]),
            (empty, [&[any], &[any], &[any, zero], &[any, zero]]),
            (
                exposed,
                [
                    &[any, one],
                    &[any, one],
                    &[any, methods, vary_headers, reflected, five, one],
                    &[any, methods, vary_headers, five, one],
                ],
            ),
        ];
        let naming = "Origin: http://a.com\r\nAccess-Control-Request-Headers: x-c, x-d\r\n";
        for (options, expected) in cases {
            let requests = [("GET", ""), ("GET", "Origin: http://a.com\r\n"), ("OPTIONS", naming), ("OPTIONS", "")];
            for ((method, lines), expected) in requests.into_iter().zip(expected) {
                let written = written(&options, method, lines).replace("\r\n", "|");
                assert_eq!(written, expected.concat(), "{options:?} {method} {lines}");
            }
        }
    }

    #[test]
    fn without_an_origin_option_nothing_is_answered() {
        let options = with_origin(CorsOrigin::None);
        assert_eq!(written(&options, "GET", FROM_A), "");
        let head = format!("OPTIONS / HTTP/1.1\r\n{FROM_A}\r\n");
        let (request, _) = crate::http::request::decode(head.as_bytes(), &RequestLimits::default()).unwrap().unwrap();
        assert_eq!(preflight(&options, &request), None);
    }

    #[test]
    fn several_fields_of_a_name_count_as_one() {
        let options = with_origin(CorsOrigin::List(strings(&["http://a.com", "http://b.com"])));
        let both = "Origin: http://a.com\r\nOrigin: http://b.com\r\n";
        assert_eq!(written(&options, "GET", both), "Vary: Origin\r\n");
        let asked = "Access-Control-Request-Headers: x-a\r\nAccess-Control-Request-Headers: x-b\r\n";
        assert!(written(&options, "OPTIONS", asked).contains("Access-Control-Allow-Headers: x-a, x-b\r\n"));
    }
}
