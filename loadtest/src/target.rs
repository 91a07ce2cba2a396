//! Which server: a URL as people type it, taken apart and resolved.
//!
//! As in socket.io-client the path of the URL is the namespace, and the path of the HTTP requests is an option.

use serde::{Deserialize, Serialize};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// The path of Socket.IO's requests unless the server was told otherwise.
pub const PATH_DEFAULT: &str = "/socket.io/";

/// A resolved server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The URL as given.
    pub url: String,
    /// Where to connect.
    pub address: SocketAddr,
    /// The value of the `Host` header.
    pub authority: String,
    /// The name that the certificate has to carry.
    pub host: String,
    /// Whether to speak TLS.
    pub tls: bool,
    /// A file with certificates of authorities to trust besides the system's. PEM.
    pub authorities: Option<String>,
    /// Whether any certificate will do.
    pub insecure: bool,
    /// The path of the requests, with a slash at both ends.
    pub path: String,
    /// The namespace that the URL names; `/` if none.
    pub namespace: String,
}

/// A URL taken apart, not yet resolved.
#[derive(Debug, PartialEq, Eq)]
struct Parts<'a> {
    tls: bool,
    authority: &'a str,
    host: &'a str,
    port: u16,
    namespace: &'a str,
}

impl Target {
    /// Parses and resolves a URL. A name with several addresses gets the first one that accepts a connection.
    ///
    /// # Errors
    /// A sentence for the operator: what is wrong with the URL, or why nobody could be reached.
    pub fn resolve(url: &str, path: &str) -> Result<Self, String> {
        let parts = parse(url)?;
        let addresses: Vec<SocketAddr> = (parts.host, parts.port)
            .to_socket_addrs()
            .map_err(|error| format!("{}: no such host ({error}). Check the name in {url}.", parts.host))?
            .collect();
        let mut failure = None;
        for address in &addresses {
            match TcpStream::connect_timeout(address, Duration::from_secs(5)) {
                Ok(_) => return Ok(Self::new(url, &parts, *address, path)),
                Err(error) => failure = Some((*address, error)),
            }
        }
        Err(match failure {
            None => format!("{}: the name has no address", parts.host),
            Some((address, error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => format!(
                "nothing listens at {address}: connection refused. Is the server running, and is {} its port?",
                parts.port
            ),
            Some((address, error)) => {
                format!(
                    "{address} cannot be reached: {error}. Check the address, the network and any firewall between."
                )
            }
        })
    }

    fn new(url: &str, parts: &Parts<'_>, address: SocketAddr, path: &str) -> Self {
        Self {
            url: url.to_owned(),
            address,
            authority: parts.authority.to_owned(),
            host: parts.host.to_owned(),
            tls: parts.tls,
            authorities: None,
            insecure: false,
            path: format!("/{}/", path.trim_matches('/')).replace("//", "/"),
            namespace: parts.namespace.to_owned(),
        }
    }
}

fn parse(url: &str) -> Result<Parts<'_>, String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let tls = match scheme {
        "http" | "ws" => false,
        "https" | "wss" => true,
        other => return Err(format!("{url}: the scheme must be http, https, ws or wss, not {other}")),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, namespace) = rest.split_at(end);
    let namespace = namespace.split(['?', '#']).next().unwrap_or("");
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            let port = port.parse().map_err(|_| format!("{url}: {port} is not a port (1 to 65535)"))?;
            (host, port)
        }
        _ => (authority, if tls { 443 } else { 80 }),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err(format!("{url:?} names no host. An example: http://localhost:3000"));
    }
    Ok(Parts { tls, authority, host, port, namespace: if namespace.is_empty() { "/" } else { namespace } })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let cases = [
            ("http://localhost:3000", (false, "localhost:3000", "localhost", 3000, "/")),
            ("localhost:3000", (false, "localhost:3000", "localhost", 3000, "/")),
            ("https://a.example/admin", (true, "a.example", "a.example", 443, "/admin")),
            ("ws://[::1]:80/?x=1", (false, "[::1]:80", "::1", 80, "/")),
            ("http://[::1]", (false, "[::1]", "::1", 80, "/")),
        ];
        for (url, (tls, authority, host, port, namespace)) in cases {
            assert_eq!(parse(url).unwrap(), Parts { tls, authority, host, port, namespace }, "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_explained() {
        assert!(parse("ftp://a").unwrap_err().contains("scheme"));
        assert!(parse("http://a:99999").unwrap_err().contains("port"));
        assert!(parse("http:///x").unwrap_err().contains("names no host"));
    }

    #[test]
    fn a_closed_port_is_explained() {
        let port = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let error = Target::resolve(&format!("http://127.0.0.1:{port}"), PATH_DEFAULT).unwrap_err();
        assert!(error.contains("nothing listens") && error.contains(&port.to_string()), "{error}");
    }

    #[test]
    fn path_has_slashes_at_both_ends() {
        let parts = parse("http://a").unwrap();
        let address = "127.0.0.1:1".parse().unwrap();
        for (given, path) in [("/socket.io", "/socket.io/"), ("x", "/x/"), ("/", "/")] {
            assert_eq!(Target::new("a", &parts, address, given).path, path);
        }
    }
}
