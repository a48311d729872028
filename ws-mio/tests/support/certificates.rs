//! Both sides of TLS, with the certificates of ws-tokio's tests: for `localhost` and 127.0.0.1.

use std::sync::Arc;

use ws_mio::tls::rustls::pki_types::pem::PemObject;
use ws_mio::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use ws_mio::tls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use ws_mio::tls::{client_config, server_config};

pub(crate) fn for_server() -> Arc<ServerConfig> {
    let chain = include_bytes!("../../../ws-tokio/tests/certificates/server.pem");
    let key = include_bytes!("../../../ws-tokio/tests/certificates/server.key");
    let chain = CertificateDer::from_pem_slice(chain).expect("PEM");
    Arc::new(server_config(vec![chain], PrivateKeyDer::from_pem_slice(key).expect("PEM")).expect("a pair"))
}

pub(crate) fn for_client() -> Arc<ClientConfig> {
    let root = include_bytes!("../../../ws-tokio/tests/certificates/root.pem");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root).expect("PEM")).expect("a root");
    Arc::new(client_config(roots).expect("versions"))
}
