// Certificates for the servers and clients of one test file, made by openssl: an authority, what it has signed for a server and for a
// client (the latter as `.pfx` too), a second one for the same server, and a client's that somebody else has signed.

import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const PASSPHRASE = "correct horse";

/** A folder with `chain.pem`, `key.pem` and `ca.pem` as `--tls` wants them, and the certificates as buffers. */
export function makeCertificates() {
  const folder = mkdtempSync(join(tmpdir(), "ringio-tls-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const path = (name) => join(folder, name);
  const openssl = (...parameters) => execFileSync("openssl", parameters, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });

  const KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const authority = (name) =>
    openssl("req", "-x509", ...KEY, "-days", "2", "-subj", `/CN=${name}`, "-keyout", `${name}-key.pem`, "-out", `${name}.pem`);
  function signed(name, by, extensions) {
    writeFileSync(path("extensions"), extensions);
    openssl("req", ...KEY, "-subj", `/CN=${name}`, "-keyout", `${name}-key.pem`, "-out", `${name}.csr`);
    openssl("x509", "-req", "-days", "2", "-in", `${name}.csr`, "-CA", `${by}.pem`, "-CAkey", `${by}-key.pem`, "-CAcreateserial", "-extfile", "extensions", "-out", `${name}.pem`);
  }
  authority("ca");
  authority("stranger");
  const SERVER = "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth";
  const CLIENT = "extendedKeyUsage=clientAuth";
  for (const name of ["first", "second"]) signed(name, "ca", SERVER);
  signed("client", "ca", CLIENT);
  signed("intruder", "stranger", CLIENT);
  openssl("pkcs12", "-export", "-in", "client.pem", "-inkey", "client-key.pem", "-passout", `pass:${PASSPHRASE}`, "-out", "client.pfx");

  /** Which certificate a server shows that reads the folder from now on. */
  function show(name) {
    copyFileSync(path(`${name}.pem`), path("chain.pem"));
    copyFileSync(path(`${name}-key.pem`), path("key.pem"));
  }
  show("first");
  const read = (name) => readFileSync(path(name));
  return {
    folder,
    show,
    ca: read("ca.pem"),
    client: { cert: read("client.pem"), key: read("client-key.pem") },
    intruder: { cert: read("intruder.pem"), key: read("intruder-key.pem") },
    pfx: { pfx: read("client.pfx"), passphrase: PASSPHRASE },
  };
}
