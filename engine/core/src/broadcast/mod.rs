//! Floor 5: one packet for many receivers, encoded once.

pub mod encode;
pub mod packets;
pub mod recovery;
pub mod replay;
