//! Authentication by JSON Web Token in a middleware: who has no valid token never reaches a handler.
//!
//! ```text
//! cargo run --release -p ringio --example auth_jwt [port]     the secret: JWT_SECRET, or `secret`
//!
//! client: io(URL, { auth: { token: "eyJhbGciOi.." } })         HS256, claims sub and exp, scope if there is one
//! refused: connect_error, err.message "unauthorized", err.data { reason }
//! ```
//! | event | what happens |
//! |---|---|
//! | `whoami` ack | ack({ sub, scope }) |
//! | in `/admin` | the scope must be `admin`, or the client is refused: `forbidden` |
//! | the token expires | the socket is told `token expired` and disconnected |

#![expect(clippy::disallowed_methods, reason = "a program of its own may read the clock")]

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use ringio::{Ack, ConnectError, Extension, Server, Socket};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[derive(Clone, Deserialize, Serialize)]
struct Claims {
    sub: String,
    /// Seconds since 1970.
    exp: u64,
    #[serde(default)]
    scope: String,
}

#[derive(Deserialize)]
struct Credentials {
    token: String,
}

struct Keys {
    secret: DecodingKey,
    validation: Validation,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args().skip(1).last().map_or(Ok(3000), |port| port.parse())?;
    let secret = std::env::var("JWT_SECRET").unwrap_or_else(|_| "secret".to_owned());
    let mut validation = Validation::new(Algorithm::HS256);
    validation.leeway = 0;
    let keys = Arc::new(Keys { secret: DecodingKey::from_secret(secret.as_bytes()), validation });
    let io = Server::new();

    for namespace in [io.of("/"), io.of("/admin")] {
        let keys = Arc::clone(&keys);
        namespace.with_middleware(move |socket: Socket| authenticate(&keys, &socket));
        // Runs for those that the middleware let through.
        namespace.on_connection(async |socket: Socket, Extension(claims): Extension<Claims>| {
            let end = UNIX_EPOCH + Duration::from_secs(claims.exp);
            tokio::time::sleep(end.duration_since(SystemTime::now()).unwrap_or_default()).await;
            socket.emit("token expired", &());
            socket.disconnect(true);
        });
    }
    io.of("/admin").with_middleware(|socket: Socket| {
        let is_admin = socket.extensions().get::<Claims>().is_some_and(|claims| claims.scope == "admin");
        if is_admin { Ok(()) } else { Err(ConnectError::new("forbidden")) }
    });

    io.sockets_on("whoami", |Extension(claims): Extension<Claims>, ack: Ack| {
        ack.send(&json!({ "sub": claims.sub, "scope": claims.scope }))
    });

    ringio::stop_on_signals(&io)?;
    let running = io.start(port)?;
    println!("ready on http://localhost:{port}");
    running.join();
    Ok(())
}

fn authenticate(keys: &Keys, socket: &Socket) -> Result<(), ConnectError> {
    let refuse = |reason: String| {
        // An object of one string can be written.
        ConnectError::new("unauthorized")
            .with_data(&json!({ "reason": reason }))
            .unwrap_or_else(|_| ConnectError::new("unauthorized"))
    };
    let credentials: Credentials = socket.handshake().auth().map_err(|_| refuse("no token".to_owned()))?;
    let token = decode::<Claims>(&credentials.token, &keys.secret, &keys.validation);
    let token = token.map_err(|error| refuse(error.to_string()))?;
    socket.extensions().insert(token.claims);
    Ok(())
}
