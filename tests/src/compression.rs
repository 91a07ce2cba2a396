//! The suites `compression` and `compression-context` of the conformance program: what is compressed, and what is not.

use ringio::{Builder, Namespace, PerMessageDeflate, RawArgs, Server, Socket};

/// The client's bundles, where the tests have installed them.
const BUNDLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance/node_modules/socket.io-client/dist");

/// The options of the suites; `keeps_context`: both sides do, if the client wants to.
pub fn options(builder: Builder, keeps_context: bool) -> Builder {
    let deflate = PerMessageDeflate {
        server_no_context_takeover: !keeps_context,
        client_no_context_takeover: !keeps_context,
        ..PerMessageDeflate::default()
    };
    builder.per_message_deflate(deflate).serve_client(BUNDLES).allow_eio3(true)
}

/// The handlers beside those of `clients`.
pub fn handlers(io: &Server) {
    io.sockets_on("plain", async |socket: Socket, namespace: Namespace, args: RawArgs| {
        let (how, id, rest) = (args.get::<String>(0)?, socket.id().to_owned(), args.skip(1));
        match how.as_str() {
            "socket" => socket.compress(false).emit("plain", &rest),
            "namespace" => namespace.compress(false).emit("plain", &rest),
            "operator" => namespace.to(id).compress(false).emit("plain", &rest),
            _ => {
                for remote in namespace.within(id).fetch_sockets().await.unwrap_or_default() {
                    remote.compress(false).emit("plain", &rest);
                }
                return Ok(());
            }
        };
        Ok::<_, ringio::ArgumentError>(())
    });
}
