//! Files served from memory: the official client's bundles, and pages.
//!
//! They are compressed once, when the server is built: about 100 ms for the bundles and their maps. Node compresses a
//! bundle for each request.

use crate::error::{Error, Result};
use ringio_codec::http::ContentEncoding;
use ringio_codec::http::content_encoding::ContentEncoder;
use ringio_core::options::Asset;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Shorter files are served as they are. Bytes.
const ENCODED_BYTES_MIN: usize = 1024;

/// zlib's default.
const GZIP_LEVEL: u8 = 6;

/// Of 0 to 11: better than gzip's best, and ten times faster than 11.
const BROTLI_QUALITY: u32 = 5;

/// As a base-2 logarithm: larger than any bundle.
const BROTLI_WINDOW_BITS: u32 = 22;

/// What Node serves below its path; each with a source map.
const BUNDLES: [&str; 4] = ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"];

/// The client's bundles in `directory`, to be served below `path` (which ends in a slash).
pub(crate) fn read(directory: &Path, path: &str) -> Result<Vec<Asset>> {
    let refused = |problem: String| Error::ClientFiles { directory: directory.to_owned(), problem };
    let etag = version(directory).map(|version| format!("\"{version}\""));
    let mut assets = Vec::new();
    for bundle in BUNDLES {
        for (name, content_type) in [
            (bundle.to_owned(), "application/javascript; charset=utf-8"),
            (format!("{bundle}.map"), "application/json; charset=utf-8"),
        ] {
            match std::fs::read(directory.join(&name)) {
                Ok(body) => {
                    let path = format!("{}/{name}", path.trim_end_matches('/'));
                    assets.push(asset(path, content_type.to_owned(), &body, etag.clone()));
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(refused(format!("{name} cannot be read: {error}"))),
            }
        }
    }
    if assets.is_empty() {
        let problem = format!(
            "none of {} is there; run `npm install socket.io-client` and name its dist directory",
            BUNDLES.join(", ")
        );
        return Err(refused(problem));
    }
    Ok(assets)
}

/// A file served from memory. Without an entity tag it gets one made of its content.
pub(crate) fn asset(path: String, content_type: String, body: &[u8], etag: Option<String>) -> Asset {
    let etag = etag.unwrap_or_else(|| {
        // Only has to change when the content does; nobody gains by making two contents collide.
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        format!("\"{:016x}\"", hasher.finish())
    });
    Asset { path, content_type, etag, body: Arc::from(body), encoded: encoded(body) }
}

/// The content in every encoding in which it gets shorter, in the order of Node's preference.
fn encoded(body: &[u8]) -> Vec<(ContentEncoding, Arc<[u8]>)> {
    if body.len() < ENCODED_BYTES_MIN {
        return Vec::new();
    }
    let mut encoder = ContentEncoder::new(GZIP_LEVEL);
    let mut encode = |encoding| {
        let mut bytes = Vec::new();
        let is_made = match encoding {
            ContentEncoding::Brotli => brotli_encode(body, &mut bytes).is_ok(),
            _ => encoder.encode(encoding, body, &mut bytes),
        };
        (is_made && bytes.len() < body.len()).then(|| (encoding, Arc::from(bytes)))
    };
    [ContentEncoding::Brotli, ContentEncoding::Gzip, ContentEncoding::Deflate]
        .into_iter()
        .filter_map(&mut encode)
        .collect()
}

fn brotli_encode(body: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
    let mut writer = brotli::CompressorWriter::new(out, 4096, BROTLI_QUALITY, BROTLI_WINDOW_BITS);
    writer.write_all(body)?;
    // Ends the stream.
    drop(writer);
    Ok(())
}

/// The version in the npm package that `directory` is the `dist` of.
fn version(directory: &Path) -> Option<String> {
    let manifest = std::fs::read(directory.join("../package.json")).ok()?;
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).ok()?;
    let version = manifest.get("version")?.as_str()?;
    // It goes into a header.
    version.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"').then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    struct Package(PathBuf);

    impl Package {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("ringio-{name}-{}", std::process::id()));
            fs::create_dir_all(root.join("dist")).unwrap();
            Self(root)
        }

        fn write(&self, path: &str, content: &str) {
            fs::write(self.0.join(path), content).unwrap();
        }

        fn dist(&self) -> PathBuf {
            self.0.join("dist")
        }
    }

    impl Drop for Package {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn bundles_are_served_below_the_path_under_their_version() {
        let package = Package::new("bundles");
        package.write("package.json", r#"{"version":"4.8.1"}"#);
        package.write("dist/socket.io.js", "js");
        package.write("dist/socket.io.js.map", "{}");
        package.write("dist/other.js", "x");
        let assets = read(&package.dist(), "/chat/").unwrap();
        let paths: Vec<_> = assets.iter().map(|asset| (asset.path.as_str(), asset.etag.as_str())).collect();
        assert_eq!(paths, [("/chat/socket.io.js", "\"4.8.1\""), ("/chat/socket.io.js.map", "\"4.8.1\"")]);
        assert_eq!(assets[0].content_type, "application/javascript; charset=utf-8");
        assert_eq!(&*assets[0].body, b"js");
    }

    #[test]
    fn content_is_compressed_once_in_each_way_that_makes_it_shorter() {
        let text = "some words and others ".repeat(200);
        let page = asset("/".to_owned(), "text/html".to_owned(), text.as_bytes(), None);
        let names: Vec<_> = page.encoded.iter().map(|(encoding, _)| encoding.name()).collect();
        assert_eq!(names, ["br", "gzip", "deflate"]);
        let mut whole = Vec::new();
        brotli::BrotliDecompress(&mut &*page.encoded[0].1, &mut whole).unwrap();
        assert_eq!(whole, text.as_bytes());
        let short = asset("/".to_owned(), "text/html".to_owned(), &text.as_bytes()[..1023], None);
        assert!(short.encoded.is_empty());
    }

    #[test]
    fn without_a_version_the_content_is_the_tag() {
        let package = Package::new("tags");
        package.write("dist/socket.io.js", "js");
        let first = read(&package.dist(), "/").unwrap();
        package.write("dist/socket.io.js", "other");
        let second = read(&package.dist(), "/").unwrap();
        assert_eq!(first[0].path, "/socket.io.js");
        assert_ne!(first[0].etag, second[0].etag);
        assert!(first[0].etag.starts_with('"') && first[0].etag.ends_with('"'));
    }

    #[test]
    fn an_empty_directory_is_an_error_with_the_remedy() {
        let package = Package::new("empty");
        let error = read(&package.dist(), "/").unwrap_err();
        assert!(error.to_string().contains("npm install"), "{error}");
    }
}
