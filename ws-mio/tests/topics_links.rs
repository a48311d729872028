//! Topics with members of every kind: over TLS, and clients, which mask what they send.
#![cfg(feature = "tls")]

mod support;

use std::collections::HashMap;
use std::sync::mpsc::Sender;

use support::certificates::{for_client, for_server};
use support::hall::numbered;
use support::running::Running;
use support::until;
use ws_mio::core::Event;
use ws_mio::{Acceptance, Answer, ConnId, Connect, Handler, Peer, Refusal, Settings, Visitor};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Server,
    Client,
}

/// Which connection received what.
type Heard = (Side, ConnId, Vec<u8>);

/// Both ends of each connection: what is published to one end's topic is sent to the other.
struct Mirror {
    heard: Sender<Heard>,
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

impl Running<Heard> {
    /// Connects a server to itself this many times.
    fn start(pairs: usize, secure: bool) -> Self {
        let change = |settings: &mut Settings| {
            settings.loops = 2;
            settings.tls = secure.then(for_server);
            settings.tls_client = Some(for_client());
        };
        let running = Self::serve(change, |given| Mirror { heard: given.told });
        let scheme = if secure { "wss" } else { "ws" };
        for _ in 0..pairs {
            let connect = Connect::new(format!("{scheme}://localhost/"), running.address);
            running.remote.connect(connect).expect("room");
        }
        until("connections", || {
            running.remote.topic_len("servers") == pairs && running.remote.topic_len("clients") == pairs
        });
        running
    }
}

/// All members get all messages, once and in order, whatever they become on the way: masked for each by a client, or records
/// of TLS.
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
                    let (side, id, message) = running.next();
                    let next = next.entry(id).or_default();
                    assert_eq!(side, hears);
                    assert!(message == numbered(*next, len), "{topic}, {count} of {len}, {secure}");
                    *next += 1;
                }
                assert_eq!(next.len(), PAIRS);
            }
        }
        assert!(running.seen.try_recv().is_err());
        assert_eq!(running.remote.deliveries().dropped, 0);
    }
}
