//! TLS by rustls with the ring provider: `wss` for clients, and a server's side.
//!
//! A client needs nothing of this: [`connect`](crate::connect()) takes `wss` addresses, and trusts the system's roots.
//! A server:
//!
//! ```no_run
//! # async fn example(listener: tokio::net::TcpListener) -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use ws_tokio::core::{Config, ConfigRef};
//! use ws_tokio::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
//! use ws_tokio::tls::{self, server_config};
//!
//! let chain = CertificateDer::pem_file_iter("chain.pem")?.collect::<Result<_, _>>()?;
//! let tls = Arc::new(server_config(chain, PrivateKeyDer::from_pem_file("key.pem")?)?);
//! let config = ConfigRef::from(Config::server());
//! let (stream, _) = listener.accept().await?;
//! stream.set_nodelay(true)?; // see `ws_tokio::accept`
//! let mut ws = tls::accept(stream, tls.clone(), config.clone()).await?;
//! # Ok(())
//! # }
//! ```

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, server};
use ws_core::{ConfigRef, ServerHandshake};

use crate::connect::ConnectError;
use crate::handshake::{AcceptError, Acceptance, Incoming};
use crate::stream::MaybeTls;
use crate::timer::Clock;
use crate::websocket::WebSocket;

pub use tokio_rustls::rustls;

/// Performs the handshake as a client. rustls names the host in SNI when it is a name, and checks the certificate against
/// it.
pub(crate) async fn client<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    host: &str,
    config: Option<Arc<ClientConfig>>,
) -> Result<MaybeTls<S>, ConnectError> {
    let config = match config {
        Some(config) => config,
        None => system_config().await.map_err(ConnectError::Tls)?,
    };
    // RFC 6455, 4.1: "Clients MUST use the Server Name Indication extension in the TLS handshake".
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| ConnectError::Tls(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(ConnectError::Tls)?;
    Ok(MaybeTls::Tls(Box::new(stream)))
}

/// A configuration that trusts the system's roots; they are read once, off the runtime's threads.
async fn system_config() -> io::Result<Arc<ClientConfig>> {
    static CONFIG: OnceCell<Arc<ClientConfig>> = OnceCell::const_new();
    let config = CONFIG.get_or_try_init(|| async {
        tokio::task::spawn_blocking(load_roots).await.map_err(io::Error::other)?
    });
    config.await.cloned()
}

fn load_roots() -> io::Result<Arc<ClientConfig>> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Those that cannot be parsed are left out.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let text = match found.errors.first() {
            Some(error) => format!("the system has no root certificates: {error}"),
            None => "the system has no root certificates".to_owned(),
        };
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    client_config(roots).map(Arc::new)
}

// ws-mio makes its configurations in the same way. There is no place for both: the core knows no TLS, and a crate of its own
// for thirty lines over rustls' builder would be one more version to keep in step.

/// A client's configuration that trusts these roots, for [`ConnectOptions::tls`](crate::ConnectOptions::tls).
///
/// # Errors
/// None with the protocol versions that this crate is built with.
pub fn client_config(roots: RootCertStore) -> io::Result<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A host that also speaks HTTP/2 is told not to expect it.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// A server's configuration with this certificate, its issuers behind it, and its key.
///
/// # Errors
/// A key that is not the certificate's, or of a kind that is not supported.
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

/// Accepts a WebSocket over TLS on a stream that was just accepted; call `set_nodelay(true)` on it before, as for
/// [`accept`](crate::accept()).
///
/// To decide by the request, use [`Incoming::read_tls`].
///
/// # Errors
/// Why there is no WebSocket; [`AcceptError::Io`] for TLS, with the kind `TimedOut` when it took too long.
///
/// # Cancel safety
/// Dropping the future drops the stream.
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    tls: Arc<ServerConfig>,
    config: impl Into<ConfigRef>,
) -> Result<WebSocket<server::TlsStream<S>>, AcceptError> {
    Incoming::read_tls(stream, tls, config).await?.accept(Acceptance::default()).await
}

impl<S: AsyncRead + AsyncWrite + Unpin> Incoming<server::TlsStream<S>> {
    /// Performs the TLS handshake, then reads the request, both within
    /// [`Timeouts::handshake`](ws_core::Timeouts::handshake). A request that is not an upgrade, or breaks a rule, is
    /// refused at once.
    ///
    /// # Errors
    /// As for [`read`](Self::read); [`AcceptError::Io`] for TLS, with the kind `TimedOut` when it took too long.
    ///
    /// # Cancel safety
    /// Dropping the future drops the stream.
    pub async fn read_tls(
        stream: S,
        tls: Arc<ServerConfig>,
        config: impl Into<ConfigRef>,
    ) -> Result<Self, AcceptError> {
        let (config, clock) = (config.into(), Clock::start());
        // Its deadline begins here.
        let handshake = ServerHandshake::new(clock.now(), config.clone());
        let accept = TlsAcceptor::from(tls).accept(stream);
        let stream = timeout(config.timeouts.handshake, accept)
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long"))??;
        Self::begin(stream, config, clock, handshake).read_head().await
    }
}
