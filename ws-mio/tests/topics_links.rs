//! Topics with members of every kind: over TLS, and clients, who mask what they send.
#![cfg(feature = "tls")]

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use support::hall::numbered;
use ws_mio::core::Event;
use ws_mio::tls::rustls::pki_types::pem::PemObject;
use ws_mio::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use ws_mio::tls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use ws_mio::tls::{client_config, server_config};
use ws_mio::{
    Acceptance, Answer, ConnId, Connect, Handler, Peer, Refusal, Remote, Server, Settings, Visitor,
};

fn for_server() -> Arc<ServerConfig> {
    let chain = include_bytes!("../../ws-tokio/tests/certificates/server.pem");
    let key = include_bytes!("../../ws-tokio/tests/certificates/server.key");
    let chain = CertificateDer::from_pem_slice(chain).expect("PEM");
    Arc::new(server_config(vec![chain], PrivateKeyDer::from_pem_slice(key).expect("PEM")).expect("a pair"))
}

fn for_client() -> Arc<ClientConfig> {
    let root = include_bytes!("../../ws-tokio/tests/certificates/root.pem");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root).expect("PEM")).expect("a root");
    Arc::new(client_config(roots).expect("versions"))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Server,
    Client,
}

/// Both ends of each connection: what one's topic has, the other is sent.
struct Mirror {
    heard: Sender<(Side, ConnId, Vec<u8>)>,
}

impl Handler for Mirror {
    type State = Side;

    fn request(&mut self, _: &Visitor<'_>) -> Result<Acceptance<Side>, Refusal> {
        Ok(Acceptance::new(Side::Server))
    }

    fn connected(&mut self, _: &Answer<'_>) -> Option<Side> {
        Some(Side::Client)
    }

    fn open(&mut self, peer: &mut Peer<'_, Side>) {
        let topic = match peer.state {
            Side::Server => "servers",
            Side::Client => "clients",
        };
        peer.subscribe(topic).expect("room");
    }

    fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_, Side>) {
        if let Event::Binary(bytes) = event {
            self.heard.send((*peer.state, peer.id(), bytes.to_vec())).expect("the test listens");
        }
    }
}

struct Running {
    remote: Remote,
    heard: Receiver<(Side, ConnId, Vec<u8>)>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Running {
    /// So many connections of a server with itself.
    fn start(pairs: usize, secure: bool) -> Self {
        let mut settings = Settings::new();
        settings.loops = 2;
        settings.tls = secure.then(for_server);
        settings.tls_client = Some(for_client());
        let server = Server::bind("127.0.0.1:0".parse().expect("an address"), settings).expect("bound");
        let (address, remote) = (server.local_addr(), server.remote());
        let (sender, heard) = channel();
        let sender = std::sync::Mutex::new(sender);
        let handler = move |_| Mirror { heard: sender.lock().expect("no panic").clone() };
        let thread = Some(std::thread::spawn(move || server.run(handler)));
        let scheme = if secure { "wss" } else { "ws" };
        for _ in 0..pairs {
            remote.connect(Connect::new(format!("{scheme}://localhost/"), address)).expect("room");
        }
        let began = std::time::Instant::now();
        while remote.topic_len("servers") < pairs || remote.topic_len("clients") < pairs {
            assert!(began.elapsed() < Duration::from_secs(20), "connections");
            std::thread::sleep(Duration::from_millis(2));
        }
        Self { remote, heard, thread }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.remote.shut_down(Duration::ZERO);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Everybody gets everything, once and in order, whatever it has to be made into on its way: masked for each by a client, and
/// records of TLS.
#[test]
fn every_kind_of_member() {
    const PAIRS: usize = 6;
    for secure in [false, true] {
        let running = Running::start(PAIRS, secure);
        for (topic, hears) in [("servers", Side::Client), ("clients", Side::Server)] {
            for (count, len) in [(1, 20), (200, 100), (20, 16 << 10), (5, 200_000)] {
                for at in 0..count {
                    let published = running.remote.publish(topic, &numbered(at, len)).expect("room");
                    assert_eq!(published.elsewhere, PAIRS);
                }
                let mut next: HashMap<ConnId, u32> = HashMap::new();
                for _ in 0..count as usize * PAIRS {
                    let heard = running.heard.recv_timeout(Duration::from_secs(20)).expect("a message");
                    let (side, id, message) = heard;
                    let next = next.entry(id).or_default();
                    assert_eq!(side, hears);
                    assert!(message == numbered(*next, len), "{topic}, {count} of {len}, {secure}");
                    *next += 1;
                }
                assert_eq!(next.len(), PAIRS);
            }
        }
        assert!(running.heard.try_recv().is_err());
        assert_eq!(running.remote.deliveries().dropped, 0);
    }
}
