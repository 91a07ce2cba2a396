//! One TCP connection, with or without TLS, as bytes in and out that never wait.
//!
//! Reading is edge-triggered: a read that does not fill the buffer has emptied the socket (epoll(7)), unless the peer
//! has ended its side, which the event says.

use super::Share;
use super::ports::{Lease, Ports, system_range};
use super::scratch::Scratch;
use crate::failure::{Class, Failure};
use crate::plan::Plan;
use mio::net::TcpStream;
use nix::errno::Errno;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{IpBindAddressNoPort, ReceiveTimestampns};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// Ports of others that are passed over for one connection.
const FOREIGN_PORTS_MAX: usize = 1_000;
/// A range with fewer ports than this can be widened.
const PORTS_ENOUGH: u32 = 60_000;

/// How connections are made.
#[derive(Debug)]
pub(crate) struct Dialer {
    address: SocketAddr,
    sources: Vec<IpAddr>,
    /// None: the kernel chooses.
    ports: Option<Ports>,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Dialer {
    pub(crate) fn new(plan: &Plan, share: Share) -> Result<Self, Failure> {
        let tls = match plan.target.tls {
            false => None,
            true => {
                let name = ServerName::try_from(plan.target.host.clone())
                    .map_err(|error| Failure::new(Class::Tls, format!("{}: {error}", plan.target.host)))?;
                Some((Arc::new(tls_config(plan)?), name))
            }
        };
        let (sources, ports) = (plan.sources.clone(), Ports::new(plan, share));
        Ok(Self { address: plan.target.address, sources, ports, tls })
    }

    /// Begins a connection. `index` chooses the source address: all of one worker's clients, counted from 0, take turns.
    pub(crate) fn dial(&self, index: u32, is_slow: bool) -> Result<Link, Failure> {
        let source = index as usize % self.sources.len().max(1);
        let (stream, lease) = match &self.ports {
            None => self.connect(source, 0, is_slow).map(|stream| (stream, None)),
            Some(ports) => self.connect_from(ports, source, is_slow),
        }
        .map_err(|error| self.explain(&error, source))?;
        let tls = match &self.tls {
            None => None,
            Some((config, name)) => Some(Box::new(
                ClientConnection::new(Arc::clone(config), name.clone())
                    .map_err(|error| Failure::new(Class::Tls, error.to_string()))?,
            )),
        };
        Ok(Link { stream, _lease: lease, tls, written: 0 })
    }

    /// Connects from the first free port that nobody else has; ports of others are tried again later.
    fn connect_from(&self, ports: &Ports, source: usize, is_slow: bool) -> io::Result<(TcpStream, Option<Lease>)> {
        let mut taken = Vec::new();
        while let Some(lease) = ports.take(source) {
            match self.connect(source, lease.port, is_slow) {
                Err(error) if is_out_of_ports(&error) && taken.len() < FOREIGN_PORTS_MAX => taken.push(lease),
                result => return result.map(|stream| (stream, Some(lease))),
            }
        }
        Err(io::Error::from_raw_os_error(Errno::EADDRNOTAVAIL as i32))
    }

    /// `port` 0: the kernel chooses.
    fn connect(&self, source: usize, port: u16, is_slow: bool) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        let source = self.sources.get(source).copied();
        if port != 0 {
            let any = if self.address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            // Else the port of a connection from another address, or of one that has ended, counts as taken.
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::new(source.unwrap_or(any), port).into())?;
        } else if let Some(source) = source {
            // Without this, bind takes a port for this address alone, and ports run out at 28,000 in sum.
            setsockopt(&socket, IpBindAddressNoPort, &true)?;
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        if is_slow {
            // So that what is not read stays with the server, not in the kernel's buffer on this side.
            socket.set_recv_buffer_size(4096)?;
        }
        match socket.connect(&self.address.into()) {
            // EINPROGRESS has no kind of its own.
            Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => return Err(error),
            _ => {}
        }
        socket.set_tcp_nodelay(true)?;
        // Where it is refused, what is read counts as arrived when it is read.
        let _ = setsockopt(&socket, ReceiveTimestampns, &true);
        Ok(TcpStream::from_std(socket.into()))
    }

    /// The failure of a connection that could not even begin, with what to do.
    fn explain(&self, error: &io::Error, source: usize) -> Failure {
        let source = self.sources.get(source);
        if let Some(source) = source
            && std::net::UdpSocket::bind((*source, 0)).is_err_and(|error| !is_out_of_files(&error))
        {
            let text = format!("{source} is no address of this machine (--source): {error}");
            return Failure::new(Class::Unreachable, text);
        }
        let text = if is_out_of_files(error) {
            format!(
                "{error}. Raise the limit of open files (ulimit -n), or share the clients among several --processes."
            )
        } else if is_out_of_ports(error) {
            let range = self.ports.as_ref().map_or_else(system_range, |ports| ports.range);
            let from = source.map_or_else(|| "this machine's address".to_owned(), ToString::to_string);
            let wider =
                if range.count() < PORTS_ENOUGH { ", or a wider range of ports (--ports 1024-65535)" } else { "" };
            format!(
                "all local ports of {from} towards {} are in use ({range}). Give more source addresses{wider}, \
                 as in --source 127.0.0.2,127.0.0.3: each carries as many connections.",
                self.address
            )
        } else {
            return Failure::of_io(error, false);
        };
        Failure::new(Class::Exhausted, text)
    }
}

fn is_out_of_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EMFILE | Errno::ENFILE))
}

fn is_out_of_ports(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable)
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) stream: TcpStream,
    /// Behind the stream, so that its port is free when it is given back.
    _lease: Option<Lease>,
    tls: Option<Box<ClientConnection>>,
    /// How much of the outbox was sent.
    written: usize,
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadResult {
    /// So many bytes; whether there may be more.
    Bytes(usize, bool),
    /// Nothing at present.
    Empty,
    /// The server has ended the connection.
    End,
}

impl Link {
    /// Reads into `scratch`. `is_ended`: the server's end was announced, so nothing short of it is the last.
    pub(super) fn read(&mut self, scratch: &mut Scratch, is_ended: bool) -> Result<ReadResult, Failure> {
        match &mut self.tls {
            None => scratch.read(&self.stream, is_ended).map_err(|error| Failure::of_io(&error, true)),
            Some(tls) => read_tls(tls, &self.stream, scratch),
        }
    }

    /// Sends what is in the outbox, as far as the socket takes it.
    pub(crate) fn flush(&mut self, outbox: &mut Vec<u8>) -> Result<(), Failure> {
        let failed = |error: &io::Error| Failure::of_io(error, true);
        match &mut self.tls {
            None => {
                while self.written < outbox.len() {
                    match self.stream.write(&outbox[self.written..]) {
                        Ok(count) => self.written += count,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        // Not yet connected: the event will come.
                        Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()),
                        Err(error) => return Err(failed(&error)),
                    }
                }
                self.written = 0;
                if outbox.capacity() > 4096 {
                    *outbox = Vec::new();
                } else {
                    outbox.clear();
                }
            }
            Some(tls) => loop {
                // It takes no more than its bound (64 KiB) before that has gone out.
                let count = tls.writer().write(outbox).map_err(|error| failed(&error))?;
                outbox.drain(..count);
                while tls.wants_write() {
                    match tls.write_tls(&mut self.stream) {
                        Ok(_) => {}
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                        Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()),
                        Err(error) => return Err(failed(&error)),
                    }
                }
                if outbox.is_empty() || count == 0 {
                    return Ok(());
                }
            },
        }
        Ok(())
    }

    /// Whether the connection is encrypted, so that a flush may be due without anything in the outbox.
    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }
}

fn read_tls(tls: &mut ClientConnection, stream: &TcpStream, scratch: &mut Scratch) -> Result<ReadResult, Failure> {
    let (mut stream, plain) = scratch.split(stream);
    loop {
        match tls.reader().read(plain) {
            Ok(0) => return Ok(ReadResult::End),
            Ok(count) => return Ok(ReadResult::Bytes(count, true)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(Failure::of_io(&error, true)),
        }
        match tls.read_tls(&mut stream) {
            Ok(0) => return Ok(ReadResult::End),
            Ok(_) => {
                tls.process_new_packets().map_err(|error| Failure::new(Class::Tls, tls_advice(&error)))?;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(ReadResult::Empty),
            Err(error) => return Err(Failure::of_io(&error, true)),
        }
    }
}

fn tls_advice(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(_) => {
            format!("{error}. Trust its authority with --ca FILE, or accept any certificate with --insecure.")
        }
        rustls::Error::InvalidMessage(_) => format!("{error}. Does the server speak TLS on this port?"),
        _ => error.to_string(),
    }
}

fn tls_config(plan: &Plan) -> Result<ClientConfig, Failure> {
    let failed = |what: String| Failure::new(Class::Tls, what);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?;
    if plan.target.insecure {
        return Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = &plan.target.authorities {
        let certificates = CertificateDer::pem_file_iter(file).map_err(|error| failed(format!("{file}: {error}")))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| failed(format!("{file}: {error}")))?;
            roots.add(certificate).map_err(|error| failed(format!("{file}: {error}")))?;
        }
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Accepts whatever the server shows: for test servers with certificates of their own (`--insecure`).
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::target::{PATH_DEFAULT, Target};

    const ALONE: Share = Share { worker: 0, workers: 1, unit: 1 };

    #[test]
    fn connections_come_from_the_sources_in_turn() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut plan = Plan::new("", Target::resolve(&url, PATH_DEFAULT).unwrap(), 4);
        listener.accept().unwrap();
        plan.sources = vec!["127.0.0.5".parse().unwrap(), "127.0.0.6".parse().unwrap()];
        let dialer = Dialer::new(&plan, ALONE).unwrap();
        for index in 0..4 {
            let _link = dialer.dial(index, false).unwrap();
            let (_, peer) = listener.accept().unwrap();
            assert_eq!(peer.ip(), plan.sources[index as usize % 2]);
        }
        plan.sources = vec!["192.0.2.1".parse().unwrap()];
        let failure = Dialer::new(&plan, ALONE).unwrap().dial(0, false).unwrap_err();
        assert!(failure.text.contains("192.0.2.1 is no address of this machine"), "{failure}");
    }
}
