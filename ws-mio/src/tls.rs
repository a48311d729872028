//! TLS by rustls with the ring provider, over any [`Stream`](crate::Stream): the server's side and the client's.
//!
//! A [`Server`](crate::Server) needs only a configuration ([`Settings::tls`](crate::Settings::tls)), and the connections
//! that it makes not even that: for `wss` URLs the system's roots are trusted. In a loop of your own:
//!
//! ```no_run
//! # fn example(tcp: mio::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use ws_mio::core::{Config, Instant};
//! use ws_mio::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
//! use ws_mio::{Socket, tls};
//!
//! let chain = CertificateDer::pem_file_iter("chain.pem")?.collect::<Result<_, _>>()?;
//! let config = Arc::new(tls::server_config(chain, PrivateKeyDer::from_pem_file("key.pem")?)?);
//! let mut socket = Socket::accept(tls::Stream::accept(tcp, config.clone())?, Config::server(), Instant::ZERO);
//! // registry.register(socket.stream_mut().io_mut(), token, Interest::READABLE | Interest::WRITABLE)?;
//! # Ok(())
//! # }
//! ```
//!
//! Handshakes run as bytes come, within [`Timeouts::handshake`](ws_core::Timeouts::handshake); they are part of the
//! first reads, or of connecting. Invariants: at most 64 KiB of messages wait to leave, in records; at most one read and
//! one record of what came wait to be taken; one call reads the transport at most once. An idle connection costs what
//! rustls keeps of it more than without TLS, six or seven KiB.

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::{Arc, OnceLock};

use mio::Interest;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, Connection, InvalidMessage, RootCertStore, ServerConfig, ServerConnection,
};

use crate::connect::ConnectError;
use crate::stream::Stream as Transport;

pub use rustls;

/// One read of the transport.
const READ: usize = 64 << 10;

thread_local! {
    /// The buffer of a read. It belongs to the thread, as the buffers belong to the loop.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// TLS over a transport.
///
/// If the transport ends without the peer's `close_notify`, that is an error of the kind `UnexpectedEof`, because a third
/// party may have ended it; behind both close frames it is a clean end all the same.
#[derive(Debug)]
pub struct Stream<T = mio::net::TcpStream> {
    io: T,
    tls: Connection,
    /// Records that came and were not taken yet, because the plaintext of those before was not read.
    rest: Vec<u8>,
    /// The transport is connected.
    stands: bool,
    /// The transport has no more to read.
    eof: bool,
    notified: bool,
    /// Bytes have left since this was last asked.
    sent: bool,
    /// The peer broke TLS, or did not prove who it is.
    failed: Option<rustls::Error>,
}

impl<T: Transport> Stream<T> {
    /// Makes the server's side.
    ///
    /// # Errors
    /// A configuration that cannot be used.
    pub fn accept(io: T, config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self::over(io, ServerConnection::new(config)?.into(), true))
    }

    /// Makes the client's side. `host` is a name, which goes into SNI, or an address; the certificate is checked against it.
    ///
    /// The transport may still be connecting.
    ///
    /// # Errors
    /// [`ConnectError::Tls`]: a host that is neither, or a configuration that cannot be used.
    pub fn connect(io: T, host: &str, config: Arc<ClientConfig>) -> Result<Self, ConnectError> {
        // RFC 6455, 4.1: "Clients MUST use the Server Name Indication extension in the TLS handshake".
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| ConnectError::Tls(io::Error::new(ErrorKind::InvalidInput, error)))?;
        let tls = ClientConnection::new(config, name).map_err(|error| ConnectError::Tls(invalid(error)))?;
        Ok(Self::over(io, tls.into(), false))
    }

    fn over(io: T, tls: Connection, stands: bool) -> Self {
        Self { io, tls, rest: Vec::new(), stands, eof: false, notified: false, sent: false, failed: None }
    }

    /// The transport.
    pub fn io(&self) -> &T {
        &self.io
    }

    /// The transport, to register it.
    pub fn io_mut(&mut self) -> &mut T {
        &mut self.io
    }

    /// The TLS connection: what was agreed on, and who the peer is.
    pub fn connection(&self) -> &Connection {
        &self.tls
    }

    /// Writes the records that wait.
    fn push(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.io) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => self.sent = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Lets out what the handshake has to say; whether it is done.
    fn shake_hands(&mut self) -> io::Result<bool> {
        match self.push() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            Ok(()) | Err(_) => Ok(!self.tls.is_handshaking()),
        }
    }

    /// Reads the transport once. What it says goes into `out`, as far as there is room; the rest is kept.
    fn pull(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = &self.failed {
            return Err(invalid(error.clone()));
        }
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            return Ok(self.take(&rest, out));
        }
        if self.eof {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.resize(READ, 0);
            match self.io.read(scratch)? {
                0 => {
                    self.eof = true;
                    // Tells TLS, which knows whether it was to be expected.
                    let _ = self.tls.read_tls(&mut io::empty());
                    Ok(0)
                }
                n => Ok(self.take(&scratch[..n], out)),
            }
        })
    }

    /// Takes records, and answers those that are not for the reader.
    fn take(&mut self, mut raw: &[u8], out: &mut [u8]) -> usize {
        let mut got = 0;
        while !raw.is_empty() {
            match self.tls.read_tls(&mut raw) {
                // What comes behind the peer's close_notify is ignored.
                Ok(0) => break,
                Ok(_) => {}
                // A handshake message is longer than what is kept of one: it is never complete, and nothing behind it is
                // ever read. rustls sends no alert for it.
                Err(error) if error.kind() == ErrorKind::InvalidData => {
                    self.failed = Some(InvalidMessage::HandshakePayloadTooLarge.into());
                    break;
                }
                // As much plaintext waits to be read as may.
                Err(_) => {
                    self.rest = raw.to_vec();
                    break;
                }
            }
            if let Err(error) = self.tls.process_new_packets() {
                self.failed = Some(error);
                break;
            }
            got += self.tls.reader().read(&mut out[got..]).unwrap_or(0);
        }
        // A failure comes again when there is something to write.
        let _ = self.push();
        got
    }
}

impl<T: Transport> Read for Stream<T> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        for pulls in 0..2 {
            match self.tls.reader().read(out) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Plaintext, or the end: with a close_notify, or without.
                result => return result,
            }
            if pulls == 0 {
                match self.pull(out)? {
                    0 => {}
                    n => return Ok(n),
                }
            }
        }
        // Records without a byte for the reader: others have their turn before the next read.
        Err(ErrorKind::Interrupted.into())
    }
}

impl<T: Transport> Stream<T> {
    /// Has TLS take plaintext, once what waits has left.
    fn put(&mut self, write: impl FnOnce(&mut Connection) -> io::Result<usize>) -> io::Result<usize> {
        if let Some(error) = &self.failed {
            return Err(invalid(error.clone()));
        }
        self.push()?;
        match write(&mut self.tls)? {
            // As much waits for the handshake as may.
            0 => Err(ErrorKind::WouldBlock.into()),
            n => {
                // It was taken; whether it leaves is for `flush` to say.
                let _ = self.push();
                Ok(n)
            }
        }
    }
}

impl<T: Transport> Write for Stream<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        self.put(|tls| tls.writer().write(bytes))
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        if parts.iter().all(|part| part.is_empty()) {
            return Ok(0);
        }
        self.put(|tls| tls.writer().write_vectored(parts))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.push()?;
        self.io.flush()
    }
}

impl<T: Transport> Transport for Stream<T> {
    fn wants_flush(&self) -> bool {
        self.tls.wants_write()
    }

    fn take_sent(&mut self) -> Option<bool> {
        Some(std::mem::take(&mut self.sent))
    }

    fn take_error(&mut self) -> io::Result<Option<io::Error>> {
        self.io.take_error()
    }

    fn establish(&mut self) -> io::Result<Option<Interest>> {
        if !self.stands {
            if let Some(interest) = self.io.establish()? {
                return Ok(Some(interest));
            }
            self.stands = true;
        }
        if self.shake_hands()? {
            return Ok(None);
        }
        let pulled = self.pull(&mut []);
        if let Some(error) = &self.failed {
            return Err(invalid(error.clone()));
        }
        match pulled {
            Ok(_) if self.eof => Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) if self.shake_hands()? => Ok(None),
            // Others have their turn before the next read.
            Ok(_) => Err(ErrorKind::Interrupted.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let writes = self.tls.wants_write();
                let both = Interest::READABLE | Interest::WRITABLE;
                Ok(Some(if writes { both } else { Interest::READABLE }))
            }
            Err(error) => Err(error),
        }
    }

    /// `close_notify`, and the transport's own end behind it.
    fn shut_down(&mut self) -> io::Result<()> {
        if !self.notified {
            self.tls.send_close_notify();
            self.notified = true;
        }
        self.push()?;
        self.io.shut_down()
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

// ws-tokio makes its configurations in the same way. There is no common place for them: the core knows no TLS, and a
// separate crate for thirty lines over another one's builder would be one more version to keep in step. How the system's
// roots are read differs: there off the runtime's threads, here by the caller, before a loop gets the request.

/// Makes a client's configuration that trusts the system's roots. They are read from files, once; call this beforehand if
/// the first `wss` request is not to wait for that.
///
/// # Errors
/// The system has no roots.
pub fn system_config() -> io::Result<Arc<ClientConfig>> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Those that cannot be parsed are left out; the others are of use.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let text = match found.errors.first() {
            Some(error) => format!("the system has no root certificates: {error}"),
            None => "the system has no root certificates".to_owned(),
        };
        return Err(io::Error::new(ErrorKind::NotFound, text));
    }
    let config = Arc::new(client_config(roots)?);
    Ok(CONFIG.get_or_init(|| config).clone())
}

/// Makes a client's configuration that trusts these roots, for [`Settings::tls_client`](crate::Settings::tls_client).
///
/// # Errors
/// None with the protocol versions that this crate is built with.
pub fn client_config(roots: RootCertStore) -> io::Result<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Tells a host that also speaks HTTP/2 not to expect it.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Makes a server's configuration with this certificate, its issuers behind it, and its key.
///
/// # Errors
/// The key is not the certificate's, or of a kind that is not supported.
pub fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
