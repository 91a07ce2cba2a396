//! The only source of chance: a stream that the seed determines.
//!
//! Sids are taken from a ChaCha12 stream: unguessable when the seed comes from the operating system, repeatable
//! when a simulation chooses it.
//!
//! ```text
//! sid = 18 characters of chance (108 bits) + 2 characters that name the shard (12 bits), alphabet A-Za-z0-9-_
//! ```
//! Twenty characters because `@socket.io/sticky` and the sharded Redis adapter recognise a sid by that length.

use super::id::ShardIndex;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Characters of a sid.
pub const SID_LEN: usize = 20;

/// Characters of a sid that do not name the shard.
pub const SID_CHOSEN_LEN: usize = SID_LEN - 2;

/// Longest text that an application may call a session. Bytes.
pub const CHOSEN_BYTES_MAX: usize = 200;

/// How many shards a sid can name.
pub const SHARD_COUNT_MAX: u16 = 1 << 12;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Name of a session or socket as peers see it: 20 ASCII characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sid([u8; SID_LEN]);

impl Sid {
    /// The sid as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).expect("made of the alphabet or checked by parse")
    }

    /// Reads a sid; `None` unless it is 20 characters of the alphabet.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; SID_LEN] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(|byte| digit_of(*byte).is_some()).then_some(Self(bytes))
    }

    /// The shard that made it (a number beyond the shard count means: not one of ours).
    #[must_use]
    pub fn shard(&self) -> ShardIndex {
        let digit = |at: usize| digit_of(self.0[at]).unwrap_or_default();
        ShardIndex(digit(SID_LEN - 2) << 6 | digit(SID_LEN - 1))
    }
}

impl core::fmt::Debug for Sid {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::fmt::Display for Sid {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

fn digit_of(byte: u8) -> Option<u16> {
    Some(
        match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        }
        .into(),
    )
}

impl Sid {
    /// A sid of the caller's choice: 18 characters of `A-Za-z0-9-_`, to which the two that name the shard are added.
    /// `None` for anything else.
    #[must_use]
    pub fn chosen(text: &str, shard: ShardIndex) -> Option<Self> {
        if text.len() != SID_CHOSEN_LEN || shard.0 >= SHARD_COUNT_MAX {
            return None;
        }
        let mut sid = [0; SID_LEN];
        sid[..SID_CHOSEN_LEN].copy_from_slice(text.as_bytes());
        sid[SID_LEN - 2] = ALPHABET[usize::from(shard.0 >> 6)];
        sid[SID_LEN - 1] = ALPHABET[usize::from(shard.0 & 63)];
        Self::parse(core::str::from_utf8(&sid).ok()?)
    }
}

/// What the application calls a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChosenId {
    /// It has the shape of a sid.
    Sid(Sid),
    /// Any other text, the two characters that name the shard at its end.
    Text(alloc::boxed::Box<str>),
}

impl ChosenId {
    /// The id that begins with `text`: 1 to [`CHOSEN_BYTES_MAX`] bytes.
    #[must_use]
    pub fn new(text: &str, shard: ShardIndex) -> Option<Self> {
        if text.is_empty() || text.len() > CHOSEN_BYTES_MAX || shard.0 >= SHARD_COUNT_MAX {
            return None;
        }
        if let Some(sid) = Sid::chosen(text, shard) {
            return Some(Self::Sid(sid));
        }
        let digits = [ALPHABET[usize::from(shard.0 >> 6)], ALPHABET[usize::from(shard.0 & 63)]];
        Some(Self::Text(alloc::format!("{text}{}{}", char::from(digits[0]), char::from(digits[1])).into_boxed_str()))
    }
}

impl Sid {
    /// The shard that the last two characters of any id name.
    #[must_use]
    pub fn shard_of_text(text: &str) -> Option<ShardIndex> {
        let [high, low] = text.as_bytes().last_chunk::<2>()?;
        Some(ShardIndex(digit_of(*high)? << 6 | digit_of(*low)?))
    }
}

/// Makes the sids of one shard and whatever else needs chance.
#[derive(Debug)]
pub struct Seed {
    stream: ChaCha12Rng,
    shard: ShardIndex,
}

impl Seed {
    /// The stream of `shard` from 32 bytes; each shard must get other bytes.
    ///
    /// # Panics
    /// If `shard` is not below [`SHARD_COUNT_MAX`].
    #[must_use]
    pub fn new(seed: [u8; 32], shard: ShardIndex) -> Self {
        assert!(shard.0 < SHARD_COUNT_MAX, "a sid names at most {SHARD_COUNT_MAX} shards");
        Self { stream: ChaCha12Rng::from_seed(seed), shard }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.stream.next_u64()
    }

    /// A sid that nobody can guess and that names this shard.
    pub fn next_sid(&mut self) -> Sid {
        let mut sid = [0; SID_LEN];
        let mut bits = u128::from(self.stream.next_u64()) << 64 | u128::from(self.stream.next_u64());
        for character in &mut sid[..SID_LEN - 2] {
            *character = ALPHABET[(bits & 63) as usize];
            bits >>= 6;
        }
        sid[SID_LEN - 2] = ALPHABET[usize::from(self.shard.0 >> 6)];
        sid[SID_LEN - 1] = ALPHABET[usize::from(self.shard.0 & 63)];
        Sid(sid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sid_names_its_shard_and_the_seed_decides_it() {
        for shard in [0, 1, 63, 64, 4095] {
            let sid = Seed::new([7; 32], ShardIndex(shard)).next_sid();
            assert_eq!(sid.shard(), ShardIndex(shard));
            assert_eq!(Sid::parse(sid.as_str()), Some(sid));
        }
        let mut one = Seed::new([1; 32], ShardIndex(0));
        let mut same = Seed::new([1; 32], ShardIndex(0));
        let mut other = Seed::new([2; 32], ShardIndex(0));
        let first = one.next_sid();
        assert_eq!(first, same.next_sid());
        assert_ne!(first, other.next_sid());
        assert_ne!(first, one.next_sid());
    }

    /// No bit of the generator is used twice, none stands still.
    #[test]
    fn the_characters_of_a_sid_are_108_bits_of_chacha12() {
        let seed = [9; 32];
        let (mut sids, mut stream) = (Seed::new(seed, ShardIndex(1)), ChaCha12Rng::from_seed(seed));
        for _ in 0..100 {
            let drawn = u128::from(stream.next_u64()) << 64 | u128::from(stream.next_u64());
            let sid = sids.next_sid();
            let digits = sid.0[..SID_CHOSEN_LEN].iter().rev().map(|byte| digit_of(*byte).unwrap());
            let said = digits.fold(0_u128, |bits, digit| bits << 6 | u128::from(digit));
            assert_eq!(said, drawn & ((1 << 108) - 1));
        }
    }

    #[test]
    fn a_chosen_sid_names_its_shard_too() {
        for shard in [0, 63, 64, 4095] {
            let sid = Sid::chosen("custom-id_42345678", ShardIndex(shard)).unwrap();
            assert_eq!((sid.shard(), &sid.as_str()[..SID_CHOSEN_LEN]), (ShardIndex(shard), "custom-id_42345678"));
        }
        for text in ["", "short", "custom id 12345678", "custom-id_423456789", "\u{e4}ustom-id_423456"] {
            assert_eq!(Sid::chosen(text, ShardIndex(0)), None, "{text}");
        }
    }

    #[test]
    fn any_text_may_be_chosen_and_names_its_shard() {
        for (text, shard) in [("user:7", 0), ("\u{e4} 😀 ?&", 65), ("x", 4095)] {
            let Some(ChosenId::Text(id)) = ChosenId::new(text, ShardIndex(shard)) else { panic!("{text}") };
            assert_eq!(
                (id.strip_prefix(text).map(str::len), Sid::shard_of_text(&id)),
                (Some(2), Some(ShardIndex(shard)))
            );
        }
        assert!(matches!(ChosenId::new("custom-id_42345678", ShardIndex(1)), Some(ChosenId::Sid(_))));
        assert_eq!(ChosenId::new("", ShardIndex(0)), None);
        assert_eq!(ChosenId::new(&"x".repeat(CHOSEN_BYTES_MAX + 1), ShardIndex(0)), None);
        assert_eq!((Sid::shard_of_text("a"), Sid::shard_of_text("a!?")), (None, None));
    }

    #[test]
    fn what_is_no_sid_is_refused() {
        for text in ["", "short", "aaaaaaaaaaaaaaaaaaaa!", "aaaaaaaaaa.aaaaaaaaa", "äaaaaaaaaaaaaaaaaaa"] {
            assert_eq!(Sid::parse(text), None, "{text}");
        }
    }
}
