//! Connect, then messages, then Disconnect, exactly once and in order, whatever kills the connection.

mod support;

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use support::{Client, Log, Seen, frame, listen, until, witness};
use tokio::sync::mpsc;
use ws_actor::{CloseFrame, ConnId, Hub, Message, OutboxLimits, Route, Server, Settings};
use ws_core::frame::Opcode;

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
enum Kill {
    /// The client closes and waits.
    Clean,
    /// The client hangs up, with unread input or without: FIN or RST.
    Drop,
    /// In the middle of a frame.
    HalfFrame,
    /// By breaking a rule.
    Violation,
    /// The program closes it, and the client may not answer.
    Hub { answers: bool },
    /// Its outbox overflows.
    Flood,
    /// The client never ends it; the end of the runtime does.
    Runtime,
}

fn kill() -> impl Strategy<Value = Kill> {
    prop_oneof![
        Just(Kill::Clean),
        Just(Kill::Drop),
        Just(Kill::HalfFrame),
        Just(Kill::Violation),
        any::<bool>().prop_map(|answers| Kill::Hub { answers }),
        Just(Kill::Flood),
        Just(Kill::Runtime),
    ]
}

async fn live(
    addr: std::net::SocketAddr,
    hub: Hub,
    n: usize,
    messages: usize,
    kill: Kill,
    held: mpsc::Sender<Client>,
) {
    let mut client = Client::open(addr, &format!("/ws?{n}")).await;
    for n in 0..messages {
        client.send(Opcode::Binary, &n.to_be_bytes()).await;
    }
    // What the hub does may come before all messages were read: then some are missing at the end.
    let ids = hub.connections();
    match kill {
        Kill::Clean => {
            client.close(1000).await;
            client.close_frame().await;
        }
        Kill::Drop => {}
        Kill::HalfFrame => client.write(&frame(true, Opcode::Binary, &[0; 100])[..50]).await,
        Kill::Violation => client.send(Opcode::Text, b"\xC0").await,
        Kill::Hub { answers } => {
            for id in ids {
                let _ = hub.close(id, CloseFrame::new(1000, "all of you"));
            }
            if answers {
                client.close_frame().await;
                client.close(1000).await;
            }
        }
        Kill::Flood => {
            for id in ids {
                for _ in 0..20 {
                    let _ = hub.send(id, vec![0; 1_000]);
                }
            }
        }
        Kill::Runtime => {
            let _ = held.send(client).await;
        }
    }
}

/// Checks the log of one actor: for each connection Connect, messages 0, 1, 2 …, Disconnect.
fn check(seen: Vec<Seen>) -> Result<(), TestCaseError> {
    #[derive(Default)]
    struct Life {
        next: usize,
        over: bool,
    }
    let mut lives: HashMap<ConnId, Life> = HashMap::new();
    for event in seen {
        match event {
            Seen::Connect(connect) => prop_assert!(lives.insert(connect.id, Life::default()).is_none()),
            Seen::Message(id, Message::Binary(bytes)) => {
                let life =
                    lives.get_mut(&id).ok_or_else(|| TestCaseError::fail("a message before Connect"))?;
                prop_assert!(!life.over);
                prop_assert_eq!(&*bytes, &life.next.to_be_bytes());
                life.next += 1;
            }
            Seen::Disconnect(id, _) => {
                let life =
                    lives.get_mut(&id).ok_or_else(|| TestCaseError::fail("Disconnect before Connect"))?;
                prop_assert!(!std::mem::replace(&mut life.over, true));
            }
            other => return Err(TestCaseError::fail(format!("{other:?}"))),
        }
    }
    prop_assert!(lives.values().all(|life| life.over), "a Disconnect is missing");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// B3, B4, D4: random connections, killed at random points in random ways, in a pool of two actors.
    #[test]
    fn connect_messages_disconnect(plan in proptest::collection::vec((0..200_usize, kill()), 1..24)) {
        let actors = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let sockets = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let hub = Hub::new();
        let (mut logs, addr): (Vec<Log>, _) = actors.block_on(async {
            let (a, log_a) = witness(&hub, "a", false);
            let (b, log_b) = witness(&hub, "b", false);
            let mut settings = Settings::new();
            settings.protocol.timeouts.close = Duration::from_millis(50);
            settings.write_timeout = Duration::from_millis(50);
            let mut limits = OutboxLimits::new();
            limits.max_messages = 10;
            let route = Route::ws("/ws").target(a).target(b).outbox(limits);
            let server = Server::new(&hub).settings(settings).route(route);
            // The connections' tasks live and die with a runtime of their own.
            let listening = sockets.spawn(async move { listen(server).await });
            (vec![log_a, log_b], listening.await.unwrap())
        });
        let lives = plan.len();
        let (hold, mut held) = mpsc::channel(lives);
        actors.block_on(async {
            let clients: Vec<_> = plan.into_iter().enumerate().map(|(n, (messages, kill))| {
                tokio::spawn(live(addr, hub.clone(), n, messages, kill, hold.clone()))
            }).collect();
            drop(hold);
            for client in clients {
                // A client that was closed while it wrote has failed, as it should.
                let _ = client.await;
            }
        });
        let held: Vec<_> = std::iter::from_fn(|| held.blocking_recv()).collect();
        sockets.shutdown_timeout(Duration::from_secs(5));
        drop(held);
        actors.block_on(until("nothing is left", || hub.connection_count() == 0));
        prop_assert_eq!(hub.room_count(), 0);
        for name in ["a", "b"] {
            // Behind what is in its mailbox, which may be full still.
            let actor = hub.lookup(name).unwrap();
            actors.block_on(until("there is room", || actor.cast(0_u32).is_ok()));
        }
        for log in &mut logs {
            let mut seen = Vec::new();
            loop {
                match actors.block_on(log.next()) {
                    Seen::Cast(0) => break,
                    event => seen.push(event),
                }
            }
            check(seen)?;
        }
    }
}
