//! TLS by rustls with the ring provider: `wss` for clients, and a server's side.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::connect::ConnectError;
use crate::stream::MaybeTls;

pub use tokio_rustls::rustls;

/// Shakes hands as a client. rustls names the host in SNI when it is a name, and holds the certificate against it.
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
    // One that cannot be parsed is of no use to anybody; the others are.
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
    // A host that speaks HTTP/2 as well is told that this is not what comes.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
