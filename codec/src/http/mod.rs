//! HTTP/1.x as far as the front door needs it: request heads, queries, bodies, and short answers.
//!
//! ```text
//! bytes -> request::decode -> Request (method, target, headers, body length) -> query::EngineQuery
//!          chunked::ChunkedDecoder (bodies without a length)                    response::write -> bytes
//! ```
//!
//! Stricter than it would have to be where two readers of the same bytes could disagree about where a request ends:
//! that is how requests are smuggled past proxies. Anything else than the engine's own paths is answered elsewhere.
//! Source: RFC 9110, RFC 9112.

pub mod chunked;
mod header;
pub mod query;
pub mod request;
pub mod response;

pub use chunked::{ChunkStep, ChunkedDecoder, ChunkedError};
pub use header::{HeaderIter, Headers, is_valid_header_value};
pub use query::EngineQuery;
pub use request::{BodyLength, Method, Request, RequestError, RequestLimits};
pub use response::EngineError;
