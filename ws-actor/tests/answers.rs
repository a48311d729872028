//! An actor's answers: their order, and who receives them.

use std::time::Duration;

use tokio::time::timeout;
use ws_actor::testing::TestServer;
use ws_actor::{CloseFrame, Context, Hub, Inbound, Message, Route, Server, WsActor};

/// Answers a message with one of each kind.
struct Verbose;

impl WsActor for Verbose {
    type Cast = ();

    async fn message(&mut self, cx: &mut Context<Self>, inbound: Inbound) {
        let answers: [Message; 5] = [
            "one".into(),
            vec![2].into(),
            Message::Ping(vec![3].into()),
            "four".into(),
            CloseFrame::new(4_005, "five").into(),
        ];
        for answer in answers {
            assert_eq!(cx.send(inbound.id, answer), Ok(()));
        }
    }
}

/// B7: several answers of different kinds to one message come in the order in which they were given, the close frame
/// last, and to the sender alone.
#[tokio::test(start_paused = true)]
async fn several_of_different_kinds() {
    let hub = Hub::new();
    let verbose = hub.spawn("verbose", || Verbose).unwrap();
    let server = TestServer::new(Server::new(&hub).route(Route::ws("/").target(verbose)));
    let mut sender = server.connect("/").await.unwrap();
    let mut other = server.connect("/").await.unwrap();
    sender.send("tell me").await.unwrap();
    for expected in [Message::text("one"), Message::binary(vec![2]), Message::text("four")] {
        assert_eq!(sender.recv().await.unwrap(), expected);
    }
    assert_eq!(sender.recv_control().await.unwrap(), Message::Ping(vec![3].into()));
    assert_eq!(sender.closed().await.unwrap(), CloseFrame::new(4_005, "five"));
    // Before the keepalive asks for a sign of life.
    other.expect_nothing(Duration::from_secs(5)).await.unwrap();
    assert!(timeout(Duration::from_secs(5), other.recv_control()).await.is_err());
    assert_eq!(hub.connection_count(), 1);
}
