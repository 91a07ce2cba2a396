//! Guides for those who come from another server, and for those who run this one; every snippet in them compiles.

#[doc = include_str!("../docs/from-node.md")]
pub mod from_node {}

#[doc = include_str!("../docs/from-socketioxide.md")]
pub mod from_socketioxide {}

#[doc = include_str!("../docs/latency.md")]
pub mod latency {}
