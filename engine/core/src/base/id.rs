//! Names of things: keys that survive re-use, indexes, and what is seen outside.
//!
//! A *key* is an index into a slab and the generation of its tenant: a key of a former tenant finds nothing.
//! An *id* (the sid) is what peers see; it is made in `base::seed`.

/// Index and generation of an entry in a [`Slab`](super::slab::Slab).
pub trait Key: Copy + Eq {
    /// Builds the key of the entry at `index` with `generation`.
    fn new(index: u32, generation: u32) -> Self;
    /// Position in the slab.
    fn index(self) -> u32;
    /// Which tenant of that position.
    fn generation(self) -> u32;
}

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name {
            index: u32,
            generation: u32,
        }

        impl $name {
            /// The key as one number, for those who only carry it (the kernel's tokens).
            #[must_use]
            pub const fn to_bits(self) -> u64 {
                (self.generation as u64) << 32 | self.index as u64
            }

            /// The key that [`Self::to_bits`] made this number of.
            #[must_use]
            pub const fn from_bits(bits: u64) -> Self {
                Self { index: bits as u32, generation: (bits >> 32) as u32 }
            }
        }

        impl Key for $name {
            fn new(index: u32, generation: u32) -> Self {
                Self { index, generation }
            }
            fn index(self) -> u32 {
                self.index
            }
            fn generation(self) -> u32 {
                self.generation
            }
        }
    };
}

key! {
    /// One TCP connection of a shard.
    ConnectionKey
}
key! {
    /// One Engine.IO session of a shard.
    SessionKey
}
key! {
    /// One Socket.IO socket (a session's presence in a namespace) of a shard. Its index is the socket's slot in bitsets.
    SocketKey
}
key! {
    /// One armed deadline in the wheel.
    TimerKey
}

/// A shard of this server, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardIndex(pub u16);

/// A namespace of this server, numbered once for all shards: those that the program makes from 0 on, those that are made
/// because a client asked for them from [`NamespaceId::FIRST_MADE`] on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamespaceId(pub u32);

impl NamespaceId {
    /// The first number of namespaces that are made because a client asked.
    pub const FIRST_MADE: u32 = 1 << 31;

    /// Whether it was made because a client asked.
    #[must_use]
    pub const fn is_made(self) -> bool {
        self.0 >= Self::FIRST_MADE
    }
}

/// A room of one namespace on one shard; re-used when the room is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomId(pub u32);

/// What the driver calls an open descriptor; the core only carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u32);
