//! Listeners that are no port of one's own: Unix sockets, sockets bound by somebody else, sockets that a supervisor passed.

#![allow(clippy::unwrap_used, missing_docs)]

use ringio::{Driver, Handshake, Server, ServerHandle, Tls};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

const DRIVERS: [Driver; 2] = [Driver::Uring, Driver::Epoll];
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn scratch(name: &str) -> PathBuf {
    // Not below the target folder, whose path may be longer than a Unix socket's can be.
    std::env::temp_dir().join(format!("ringio-{}-{name}", std::process::id()))
}

fn server(driver: Driver) -> Server {
    Server::builder().driver(driver).shards(3).build().unwrap()
}

fn end(running: &ServerHandle) {
    running.close();
    running.join();
}

/// Opens a session by polling, and reads the answer to its end.
fn open(mut stream: impl Read + Write) -> String {
    stream
        .write_all(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("0{\"sid\""), "{answer}");
    answer
}

/// Joins the main namespace in a session opened before, on a connection of its own: with three shards, most of them have to move.
fn join(mut connect: impl FnMut() -> UnixStream) {
    let answer = open(connect());
    let sid = answer.split("\"sid\":\"").nth(1).unwrap().split('"').next().unwrap();
    let mut stream = connect();
    let request = format!(
        "POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\n40"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
}

#[test]
fn a_unix_socket_is_served_on_every_shard_and_its_file_goes_with_the_server() {
    for driver in DRIVERS {
        let path = scratch("served.sock");
        let io = server(driver);
        let (sender, seen) = std::sync::mpsc::channel();
        io.on_connection(move |handshake: Handshake| sender.send((handshake.address(), handshake.port())).unwrap());
        let running = io.start((format!("unix:{}", path.display()), LOOPBACK)).unwrap();
        assert_eq!(running.local_addrs().len(), 1, "a path is no IP address");
        for _ in 0..20 {
            join(|| UnixStream::connect(&path).unwrap());
            assert_eq!(seen.recv().unwrap(), (None, None), "a client of a Unix socket has no address");
        }
        open(TcpStream::connect(running.local_addr()).unwrap());
        end(&running);
        assert!(!path.exists());
    }
}

#[test]
fn a_path_is_taken_over_from_the_dead_and_from_nobody_else() {
    let path = scratch("left.sock");
    let address = format!("unix:{}", path.display());
    drop(UnixListener::bind(&path).unwrap()); // Its file stays, as after a crash.
    let running = server(Driver::Epoll).start(&*address).unwrap();
    open(UnixStream::connect(&path).unwrap());
    let error = server(Driver::Epoll).start(&*address).unwrap_err().to_string();
    assert!(error.contains(&address) && error.contains("in use"), "{error}");
    open(UnixStream::connect(&path).unwrap());
    // Who has put another file there keeps it.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "a file").unwrap();
    end(&running);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
    let error = server(Driver::Epoll).start(&*address).unwrap_err().to_string();
    assert!(error.contains("in use"), "{error}");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_listener_that_is_bound_already_is_served() {
    for driver in DRIVERS {
        let path = scratch("bound.sock");
        let (tcp, unix) = (TcpListener::bind(LOOPBACK).unwrap(), UnixListener::bind(&path).unwrap());
        let address = tcp.local_addr().unwrap();
        // Who came before the server did is served too.
        let early = TcpStream::connect(address).unwrap();
        let running = server(driver).start((tcp, unix)).unwrap();
        assert_eq!(running.local_addrs(), [address]);
        open(early);
        for _ in 0..10 {
            open(TcpStream::connect(address).unwrap());
            open(UnixStream::connect(&path).unwrap());
        }
        end(&running);
        assert!(path.exists(), "whoever has bound it removes it");
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn tls_is_spoken_over_a_unix_socket() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = Tls::from_pem(certified.cert.pem().as_bytes(), certified.signing_key.serialize_pem().as_bytes()).unwrap();
    let mut roots = ringio::rustls::RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    let provider = Arc::new(ringio::rustls::crypto::ring::default_provider());
    let config = ringio::rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let path = scratch("tls.sock");
    let running = server(Driver::Auto).start(tls.on(format!("unix:{}", path.display()))).unwrap();
    let client =
        ringio::rustls::ClientConnection::new(Arc::new(config), "localhost".to_owned().try_into().unwrap()).unwrap();
    open(ringio::rustls::StreamOwned::new(client, UnixStream::connect(&path).unwrap()));
    end(&running);
}

/// Killed with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn sockets_that_a_supervisor_passed_are_served() {
    let listener = TcpListener::bind(LOOPBACK).unwrap();
    let address = listener.local_addr().unwrap();
    let script = "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" clients --inherited --shards 2";
    let _program = Program(
        Command::new("sh")
            .args(["-c", script, env!("CARGO_BIN_EXE_conformance")])
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)))
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    for _ in 0..10 {
        open(TcpStream::connect(address).unwrap());
    }
}
