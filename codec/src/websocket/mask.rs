//! Masking: every payload byte XOR one of the four key bytes in turn. Unmasking is the same.
//!
//! In place, in blocks of 32 bytes against the key repeated eight times, which the compiler turns into vector
//! instructions; the rest byte by byte. Source: RFC 6455 section 5.3.

const BLOCK_BYTES: usize = 32;

/// Masks or unmasks `bytes` in place. `offset` is how many bytes of this payload came before them, so that a payload
/// may be handled in pieces.
pub fn apply(bytes: &mut [u8], key: [u8; 4], offset: usize) {
    let mut turned = key;
    turned.rotate_left(offset % 4);
    let mut wide = [0; BLOCK_BYTES];
    for (index, byte) in wide.iter_mut().enumerate() {
        *byte = turned[index % 4];
    }
    let (blocks, rest) = bytes.as_chunks_mut::<BLOCK_BYTES>();
    for block in blocks {
        for (byte, key) in block.iter_mut().zip(wide) {
            *byte ^= key;
        }
    }
    // A block is a multiple of four bytes, so the rest begins with the key's first byte again.
    for (byte, key) in rest.iter_mut().zip(wide) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(bytes: &[u8], key: [u8; 4], offset: usize) -> Vec<u8> {
        bytes.iter().enumerate().map(|(index, byte)| byte ^ key[(index + offset) % 4]).collect()
    }

    #[test]
    fn hello_of_the_specification() {
        let mut bytes = *b"\x7f\x9f\x4d\x51\x58";
        apply(&mut bytes, [0x37, 0xfa, 0x21, 0x3d], 0);
        assert_eq!(&bytes, b"Hello");
    }

    proptest! {
        #[test]
        fn is_the_plain_loop(
            bytes in prop::collection::vec(any::<u8>(), 0..150),
            key in any::<[u8; 4]>(),
            offset in 0usize..1000,
        ) {
            let mut masked = bytes.clone();
            apply(&mut masked, key, offset);
            prop_assert_eq!(&masked, &plain(&bytes, key, offset));
        }

        #[test]
        fn pieces_make_the_whole(
            bytes in prop::collection::vec(any::<u8>(), 0..150),
            key in any::<[u8; 4]>(),
            split in 0usize..150,
        ) {
            let mut pieces = bytes.clone();
            let split = split.min(bytes.len());
            let (left, right) = pieces.split_at_mut(split);
            apply(left, key, 0);
            apply(right, key, split);
            prop_assert_eq!(&pieces, &plain(&bytes, key, 0));
        }
    }
}
