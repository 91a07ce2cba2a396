//! The only reader of the system's source of chance.

/// 32 bytes that nobody can guess: the seed of one shard.
///
/// # Errors
/// The system gives no entropy (a chroot without `/dev/urandom` on a kernel without `getrandom`).
pub fn seed() -> std::io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(std::io::Error::other)?;
    Ok(seed)
}
