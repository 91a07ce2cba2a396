//! HTTP/1.x as far as the front door needs it: request heads, queries, bodies, and short answers.
//!
//! ```text
//! bytes -> request::decode -> Request (method, target, headers, body length) -> query::EngineQuery
//!          chunked::ChunkedDecoder (bodies without a length)                    response::write -> bytes
//!          cors, accept_encoding (which fields the answer has)   cookie, jsonp, content_encoding (what is written into it)
//! ```
//!
//! Stricter than it would have to be where two readers of the same bytes could disagree about where a request ends:
//! that is how requests are smuggled past proxies. Anything else than the engine's own paths is answered elsewhere.
//! Source: RFC 9110, RFC 9112.

pub mod accept_encoding;
pub mod chunked;
pub mod content_encoding;
pub mod cookie;
pub mod cors;
mod header;
pub mod jsonp;
pub mod query;
pub mod request;
pub mod response;

pub use accept_encoding::ContentEncoding;
pub use chunked::{ChunkStep, ChunkedDecoder, ChunkedError};
pub use cookie::{Cookie, CookieError, CookiePriority, SameSite};
pub use cors::{CorsHeaders, CorsOptions, CorsOrigin};
pub(crate) use header::is_token_byte;
pub use header::{HeaderIter, Headers, is_valid_header_value};
pub use query::EngineQuery;
pub use request::{BodyLength, Method, Request, RequestError, RequestLimits};
pub use response::EngineError;
