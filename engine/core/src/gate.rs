//! Who may come in: budgets that all shards of a server share, asked at the door before anything is kept.
//!
//! ```text
//! accepted --connect--> no: closed at once            request that would open a session --open--> no: 503, Retry-After
//!             | yes: counted until `disconnect`                            | yes: counted until `close`
//! ```
//! The core asks and counts; the answer comes from outside, because shards share no memory here. Without a gate everybody comes in.

use core::fmt::Debug;
use core::net::IpAddr;

/// Budgets of a server.
pub trait Gate: Debug + Send + Sync {
    /// Whether one more connection may come from this address; counted if so.
    fn connect(&self, address: Option<IpAddr>) -> bool;
    /// A connection that was let in has ended.
    fn disconnect(&self, address: Option<IpAddr>);
    /// Whether this address may open one more session at this time (milliseconds of any clock that does not go back); counted if so.
    fn open(&self, now_ms: u64, address: Option<IpAddr>) -> bool;
    /// A session that was let in has ended.
    fn close(&self);
}
