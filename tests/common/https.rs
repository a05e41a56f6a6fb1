//! A server of files over HTTPS on this machine, with certificates of `scripts/make-certs.sh`.

use super::servers;
use native_tls::{Identity, TlsAcceptor};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// By path: the bytes, and how many are announced.
type Files = Arc<Mutex<HashMap<String, (Vec<u8>, u64)>>>;

/// See the module docs. It ends with the test.
pub struct Https {
    /// `https://127.0.0.1:port/`
    pub base: String,
    /// The certificate of its authority.
    pub ca: PathBuf,
    files: Files,
}

impl Https {
    /// Starts one; its certificates are made in a directory that is not there yet.
    pub fn start(certificates: &Path) -> Https {
        servers::script("make-certs.sh", &[certificates.to_str().unwrap()]);
        let read = |name: &str| std::fs::read(certificates.join(name)).unwrap();
        let identity = Identity::from_pkcs8(&read("server.pem"), &read("server-key.pem")).unwrap();
        let acceptor = Arc::new(TlsAcceptor::new(identity).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("https://{}/", listener.local_addr().unwrap());
        let files = Files::default();
        let served = Arc::clone(&files);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (acceptor, files) = (Arc::clone(&acceptor), Arc::clone(&served));
                // A client that goes away is its own affair.
                std::thread::spawn(move || serve(&acceptor, stream, &files));
            }
        });
        Https { base, ca: certificates.join("cacert.pem"), files }
    }

    /// Offers a file; returns its URL.
    pub fn offer(&self, name: &str, bytes: Vec<u8>) -> String {
        let size_bytes = bytes.len() as u64;
        self.announce(name, bytes, size_bytes)
    }

    /// Offers a file that is announced to have another size.
    pub fn announce(&self, name: &str, bytes: Vec<u8>, size_bytes: u64) -> String {
        self.files.lock().unwrap().insert(format!("/{name}"), (bytes, size_bytes));
        format!("{}{name}", self.base)
    }
}

fn serve(acceptor: &TlsAcceptor, stream: TcpStream, files: &Files) -> Option<()> {
    let mut stream = BufReader::new(acceptor.accept(stream).ok()?);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_until(b'\n', &mut head).ok()? == 0 {
            return None;
        }
    }
    let head = String::from_utf8(head).ok()?;
    let path = head.split_whitespace().nth(1)?;
    let found = files.lock().unwrap().get(path).cloned();
    let status = if found.is_some() { "200 OK" } else { "404 Not Found" };
    let (body, size_bytes) = found.unwrap_or_default();
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {size_bytes}\r\nConnection: close\r\n\r\n");
    let stream = stream.get_mut();
    stream.write_all(answer.as_bytes()).ok()?;
    stream.write_all(&body).ok()?;
    stream.shutdown().ok()
}
