//! The names of listeners, so that they can be removed again.
//!
//! Node removes a listener by the function that was added; closures of Rust cannot be compared, so adding one gives a
//! [`ListenerId`]. Ids are never used again within a server: the highest 16 bits name the shard (or that all shards share
//! the listener), the others count.

use crate::error::HandlerError;
use crate::handler::{HandlerOutput, SharedHandler};
use ringio_core::base::id::ShardIndex;

/// A listener that was added with `on`, `once`, `on_any` and the like: to be given to `off`.
///
/// It may be ignored. A handler may end with the call that gives it.
///
/// ```no_run
/// # use ringio::{Server, Socket};
/// # let io = Server::new();
/// io.on_connection(|socket: Socket| {
///     let greeting = socket.on("hello", |socket: Socket| socket.emit("hello", "you"));
///     socket.on("enough", move |socket: Socket| socket.off(greeting));
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(u64);

/// The part of an id that says who counts.
const OWNER_SHIFT: u32 = 48;

/// The owner of listeners that all shards share. No shard has this number.
const SHARED: u64 = u16::MAX as u64;

impl ListenerId {
    /// The `count`-th listener of a shard.
    pub(crate) fn of_shard(shard: ShardIndex, count: u64) -> Self {
        Self(u64::from(shard.0) << OWNER_SHIFT | count)
    }

    /// The `count`-th listener of all shards.
    pub(crate) const fn shared(count: u64) -> Self {
        Self(SHARED << OWNER_SHIFT | count)
    }
}

impl HandlerOutput for ListenerId {
    fn into_result(self) -> Result<(), HandlerError> {
        Ok(())
    }
}

/// A listener that all shards share.
#[derive(Clone)]
pub(crate) struct SharedListener {
    pub(crate) id: ListenerId,
    pub(crate) handler: SharedHandler,
}

/// Which listeners `off` removes: one, by its [`ListenerId`], or all of an event, by its name.
///
/// ```no_run
/// # fn quiet(socket: &ringio::Socket, listener: ringio::ListenerId) {
/// socket.off(listener); // one
/// socket.off("chat"); // all of an event
/// # }
/// ```
pub trait ListenerKey {
    /// What is meant.
    #[doc(hidden)]
    fn which(&self) -> Which<'_>;
}

/// What a [`ListenerKey`] means.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which<'a> {
    /// This one.
    One(ListenerId),
    /// All of the event of this name.
    Event(&'a str),
}

impl ListenerKey for ListenerId {
    fn which(&self) -> Which<'_> {
        Which::One(*self)
    }
}

impl ListenerKey for str {
    fn which(&self) -> Which<'_> {
        Which::Event(self)
    }
}

impl ListenerKey for String {
    fn which(&self) -> Which<'_> {
        Which::Event(self)
    }
}

impl<K: ListenerKey + ?Sized> ListenerKey for &K {
    fn which(&self) -> Which<'_> {
        (**self).which()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_different_owners_differ() {
        let ids =
            [ListenerId::of_shard(ShardIndex(0), 1), ListenerId::of_shard(ShardIndex(1), 1), ListenerId::shared(1)];
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
        assert_eq!("a".which(), Which::Event("a"));
        assert_eq!(String::from("b").which(), Which::Event("b"));
        assert_eq!(ids[0].which(), Which::One(ids[0]));
    }
}
