//! The system calls this package makes itself, as safe functions: descriptors are owned or borrowed, buffers are slices.
//!
//! Each function is one call. Every pointer handed over points into an argument or a local of the function and is not kept by the
//! system beyond the call; that is the whole safety argument, and each block says which. Sources: the section 2 man page of each name.

#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The number of the last error, 0 when there is none.
pub(crate) fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}

/// Takes over a descriptor that a call just returned.
fn owned(fd: RawFd) -> OwnedFd {
    // SAFETY: the callers pass what a successful call just opened, and nobody else has seen the number.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Gives free memory of all threads back to the system. That takes about a quarter of the time in which the system gave it, touched for the
/// first time: tens of milliseconds for the heap of a hundred thousand sessions. Nothing where the C library cannot.
pub(crate) fn trim_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes and returns plain numbers; it may be called by any thread at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Bytes of a page of memory.
pub(crate) fn page_bytes() -> u64 {
    // SAFETY: takes and returns plain numbers.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096)
}

// ---- eventfd

/// A counter that wakes: non-blocking, closed on exec.
pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: takes and returns plain numbers.
    let result = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    check(result).map(owned)
}

/// Adds one. Cannot fail for a live eventfd short of 2^64 additions.
pub(crate) fn eventfd_add(event: BorrowedFd<'_>) {
    let one = 1_u64;
    // SAFETY: `one` lives beyond the call and has the 8 bytes named.
    let written = unsafe { libc::write(event.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
    debug_assert_eq!(written, 8);
}

// ---- epoll

/// A new interest list.
pub(crate) fn epoll() -> io::Result<OwnedFd> {
    // SAFETY: takes and returns plain numbers.
    let result = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    check(result).map(owned)
}

/// `operation` is one of `EPOLL_CTL_*`; `data` comes back with every event.
pub(crate) fn epoll_ctl(
    epoll: BorrowedFd<'_>,
    operation: libc::c_int,
    fd: RawFd,
    events: u32,
    data: u64,
) -> io::Result<()> {
    let mut event = libc::epoll_event { events, u64: data };
    // SAFETY: `event` lives beyond the call; a wrong `fd` is an error, not a danger.
    let result = unsafe { libc::epoll_ctl(epoll.as_raw_fd(), operation, fd, &raw mut event) };
    check(result).map(drop)
}

/// No event: what an array for [`epoll_wait`] is filled with.
pub(crate) const NO_EVENT: libc::epoll_event = libc::epoll_event { events: 0, u64: 0 };

/// Fills the front of `events` and returns how many. `timeout_ms` -1 waits for ever.
pub(crate) fn epoll_wait(
    epoll: BorrowedFd<'_>,
    events: &mut [libc::epoll_event],
    timeout_ms: i32,
) -> io::Result<usize> {
    // SAFETY: the pointer and the count are those of one slice.
    let result =
        unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), events.len() as libc::c_int, timeout_ms) };
    check(result).map(|count| count as usize)
}

// ---- sockets

/// The next connection of a listener: non-blocking, closed on exec.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    let mut name = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut size = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: `name` has the `size` bytes named; both live beyond the call.
    let result = unsafe {
        libc::accept4(
            listener.as_raw_fd(),
            name.as_mut_ptr().cast(),
            &raw mut size,
            libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
        )
    };
    let fd = owned(check(result)?);
    // SAFETY: it was zeroed, which is a valid value of this plain structure.
    let name = unsafe { name.assume_init() };
    Ok((fd, address_from(&name)))
}

/// Receives what is there into `buffer`; 0 means that the peer is done.
pub(crate) fn receive(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the size are those of one slice.
    let result = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as usize) }
}

/// Sends from the front of `bytes` what there is room for.
pub(crate) fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the size are those of one slice.
    let result = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as usize) }
}

/// Says that nothing more will be sent.
pub(crate) fn shutdown_write(fd: RawFd) -> io::Result<()> {
    // SAFETY: takes and returns plain numbers.
    let result = unsafe { libc::shutdown(fd, libc::SHUT_WR) };
    check(result).map(drop)
}

/// Throws away at most `count` received bytes, without copying them anywhere (MSG_TRUNC of tcp(7)).
pub(crate) fn discard(fd: RawFd, count: usize) {
    // SAFETY: with MSG_TRUNC a stream socket writes nothing to the buffer, which may then be null.
    unsafe { libc::recv(fd, std::ptr::null_mut(), count, libc::MSG_DONTWAIT | libc::MSG_TRUNC) };
}

/// A TCP socket of `address`' family, closed on exec.
pub(crate) fn tcp_socket(address: &SocketAddr, is_nonblocking: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let flags = libc::SOCK_CLOEXEC | if is_nonblocking { libc::SOCK_NONBLOCK } else { 0 };
    // SAFETY: takes and returns plain numbers.
    let result = unsafe { libc::socket(family, libc::SOCK_STREAM | flags, 0) };
    check(result).map(owned)
}

/// Sets an option whose value is a number.
pub(crate) fn set_option(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `value` has the `size` bytes named and lives beyond the call.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), size) };
    check(result).map(drop)
}

/// Gives a socket its address.
pub(crate) fn bind(fd: BorrowedFd<'_>, address: &SocketAddr) -> io::Result<()> {
    let result = match address {
        SocketAddr::V4(address) => {
            let name = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: `name` has the size named and lives beyond the call.
            unsafe {
                libc::bind(fd.as_raw_fd(), (&raw const name).cast(), size_of::<libc::sockaddr_in>() as libc::socklen_t)
            }
        }
        SocketAddr::V6(address) => {
            let name = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: address.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                sin6_scope_id: address.scope_id(),
            };
            // SAFETY: `name` has the size named and lives beyond the call.
            unsafe {
                libc::bind(fd.as_raw_fd(), (&raw const name).cast(), size_of::<libc::sockaddr_in6>() as libc::socklen_t)
            }
        }
    };
    check(result).map(drop)
}

/// Begins to take connections, `backlog` of which may wait (bounded by `net.core.somaxconn`).
pub(crate) fn listen(fd: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
    // SAFETY: takes and returns plain numbers.
    let result = unsafe { libc::listen(fd.as_raw_fd(), backlog) };
    check(result).map(drop)
}

/// The socket's own address; None for families other than IP.
pub(crate) fn own_address(fd: BorrowedFd<'_>) -> io::Result<Option<SocketAddr>> {
    let mut name = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut size = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: `name` has the `size` bytes named; both live beyond the call.
    let result = unsafe { libc::getsockname(fd.as_raw_fd(), name.as_mut_ptr().cast(), &raw mut size) };
    check(result)?;
    // SAFETY: it was zeroed, which is a valid value of this plain structure.
    let name = unsafe { name.assume_init() };
    Ok(address_from(&name))
}

/// Whether calls on this descriptor return instead of waiting. Belongs to the open file: all duplicates share it.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>, is_nonblocking: bool) -> io::Result<()> {
    // SAFETY: takes and returns plain numbers.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    let wanted = if is_nonblocking { flags | libc::O_NONBLOCK } else { flags & !libc::O_NONBLOCK };
    if wanted == flags {
        return Ok(());
    }
    // SAFETY: takes and returns plain numbers.
    let result = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, wanted) };
    check(result).map(drop)
}

/// How many descriptors this process may have.
pub(crate) fn descriptor_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` lives beyond the call.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit.rlim_cur
}

/// The address in a structure that the system filled; IPv4 clients of a dual-stack listener come as IPv4.
pub(crate) fn address_from(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: a `sockaddr_storage` is at least as large and aligned, and every bit pattern is valid for these plain fields.
            let name = unsafe { &*std::ptr::from_ref(name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(name.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(name.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let name = unsafe { &*std::ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            let port = u16::from_be(name.sin6_port);
            Some(match ip.to_ipv4_mapped() {
                Some(ip) => SocketAddr::V4(SocketAddrV4::new(ip, port)),
                None => SocketAddr::V6(SocketAddrV6::new(ip, port, name.sin6_flowinfo, name.sin6_scope_id)),
            })
        }
        _ => None,
    }
}

/// Whether a socket's family is IPv6; None when it is neither of the IP families.
pub(crate) fn is_ipv6(fd: BorrowedFd<'_>) -> io::Result<Option<bool>> {
    let mut domain: libc::c_int = 0;
    let mut size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `domain` has the `size` bytes named; both live beyond the call.
    let result = unsafe {
        libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_DOMAIN, (&raw mut domain).cast(), &raw mut size)
    };
    check(result)?;
    Ok(match domain {
        libc::AF_INET => Some(false),
        libc::AF_INET6 => Some(true),
        _ => None,
    })
}

// ---- timerfd

/// A timer that is not set.
pub(crate) fn timer() -> io::Result<OwnedFd> {
    // SAFETY: takes and returns plain numbers.
    let result = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) };
    check(result).map(owned)
}

/// Lets the timer end once, after `delay_ns` nanoseconds (below a second).
pub(crate) fn set_timer(timer: BorrowedFd<'_>, delay_ns: u32) -> io::Result<()> {
    let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let value = libc::itimerspec {
        it_interval: never,
        it_value: libc::timespec { tv_nsec: libc::c_long::from(delay_ns), ..never },
    };
    // SAFETY: `value` lives beyond the call; no old value is asked for.
    let result = unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &raw const value, std::ptr::null_mut()) };
    check(result).map(drop)
}

#[cfg(all(test, not(ringio_loom)))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::{Read, Write};
    use std::net::{IpAddr, TcpStream};
    use std::os::fd::AsFd;

    fn localhost() -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)
    }

    fn would_block<T>(result: &io::Result<T>) -> bool {
        result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// What the call says when the other side has been heard.
    fn until_heard<T>(mut call: impl FnMut() -> io::Result<T>) -> T {
        loop {
            let result = call();
            if !would_block(&result) {
                return result.unwrap();
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_connection_is_taken_and_bytes_go_both_ways() {
        let listener = tcp_socket(&localhost(), true).unwrap();
        bind(listener.as_fd(), &localhost()).unwrap();
        listen(listener.as_fd(), 8).unwrap();
        let address = own_address(listener.as_fd()).unwrap().unwrap();
        assert!(would_block(&accept(listener.as_fd())));
        let mut client = TcpStream::connect(address).unwrap();
        let (accepted, name) = until_heard(|| accept(listener.as_fd()));
        assert_eq!(name, Some(client.local_addr().unwrap()));
        assert_eq!(own_address(accepted.as_fd()).unwrap(), Some(address));

        let fd = accepted.as_raw_fd();
        let mut buffer = [0; 8];
        assert!(would_block(&receive(fd, &mut buffer)));
        client.write_all(b"ping").unwrap();
        assert_eq!(until_heard(|| receive(fd, &mut buffer[2..])), 4);
        assert_eq!(&buffer, b"\0\0ping\0\0");
        assert_eq!(send(fd, b"pong").unwrap(), 4);
        client.read_exact(&mut buffer[..4]).unwrap();
        assert_eq!(&buffer, b"pongng\0\0");
        shutdown_write(fd).unwrap();
        // Miri's sockets do not wake a reader when the other side says that it is done.
        if !cfg!(miri) {
            assert_eq!(client.read(&mut buffer).unwrap(), 0);
        }
        drop(client);
        assert_eq!(until_heard(|| receive(fd, &mut buffer)), 0);
    }
}
