//! What the application wants to hear of a session beside its events: `conn` in Node.
//!
//! One byte per session, zero for all but a few; every place that could tell looks at its bit first.

/// A set of occasions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hearing(u8);

impl Hearing {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Each packet that comes.
    pub const PACKETS: Self = Self(1);
    /// Each packet that is put into the outbox.
    pub const CREATED: Self = Self(2);
    /// The way from polling to WebSocket.
    pub const UPGRADES: Self = Self(4);
    /// The outbox is given to the transport, and the transport is done with it.
    pub const FLUSHES: Self = Self(8);
    /// The end.
    pub const CLOSE: Self = Self(16);

    /// Both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is wanted.
    #[inline]
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether nothing is wanted.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn occasions_are_apart() {
        let both = Hearing::PACKETS.with(Hearing::CLOSE);
        assert!(both.has(Hearing::PACKETS) && both.has(Hearing::CLOSE) && !both.has(Hearing::FLUSHES));
        assert!(Hearing::default().is_none() && !both.is_none());
    }
}
