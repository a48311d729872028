//! A hub as relays know it: one actor that hears of joins, leaves, messages and heartbeats, and says control and close.

mod support;

use std::time::Duration;

use support::{Client, listen, soon};
use tokio::sync::mpsc;
use ws_actor::{
    CloseFrame, ConnId, Connect, Context, Disconnect, Heartbeat, Hub, Inbound, Meta, Reason, Relay, Route,
    Server, WsActor,
};

/// What the hub was told, under which topic.
#[derive(Debug, PartialEq)]
enum Told {
    Join(ConnId, Meta),
    Leave(ConnId, Reason, Meta),
    Message(ConnId, String, String),
    Heartbeat(ConnId, u64, Meta),
}

struct WsHub(mpsc::UnboundedSender<(&'static str, Told)>, &'static str);

impl WsHub {
    fn told(&self, what: Told) {
        let _ = self.0.send((self.1, what));
    }
}

impl WsActor for WsHub {
    type Cast = ();

    async fn connect(&mut self, _: &mut Context<Self>, connect: Connect) {
        self.told(Told::Join(connect.id, connect.meta));
    }

    async fn message(&mut self, cx: &mut Context<Self>, inbound: Inbound) {
        let text = inbound.message.as_text().unwrap_or_default().to_owned();
        match &*text {
            "close me" => {
                let _ = cx.close(inbound.id, CloseFrame::new(4000, "as you wish"));
            }
            "control" => {
                let relay = Relay::to("other").topic("ws.other").meta(Meta::new().set("user", "moved"));
                assert_eq!(cx.retarget(inbound.id, relay), Ok(()));
            }
            _ => {}
        }
        self.told(Told::Message(inbound.id, inbound.topic.to_string(), text));
    }

    async fn heartbeat(&mut self, _: &mut Context<Self>, beat: Heartbeat) {
        self.told(Told::Heartbeat(beat.id, beat.messages_in, beat.meta));
    }

    async fn disconnect(&mut self, _: &mut Context<Self>, gone: Disconnect) {
        self.told(Told::Leave(gone.id, gone.reason, gone.meta));
    }
}

struct Fixture {
    told: mpsc::UnboundedReceiver<(&'static str, Told)>,
    client: Client,
    id: ConnId,
    meta: Meta,
}

impl Fixture {
    /// A client that has joined.
    async fn joined(heartbeat: Option<Duration>) -> Self {
        let (hub, meta) = (Hub::new(), Meta::new().set("user", "Ann"));
        let (to, mut told) = mpsc::unbounded_channel();
        for name in ["hub", "other"] {
            let to = to.clone();
            hub.spawn(name, move || WsHub(to.clone(), name)).unwrap();
        }
        let values = meta.clone();
        let route = Route::ws("/ws").decide(move |_| {
            let relay = Relay::to("hub").topic("ws.message").meta(values.clone());
            let relay = heartbeat.iter().fold(relay, |relay, every| relay.heartbeat(*every));
            async { relay }
        });
        let addr = listen(Server::new(&hub).route(route)).await;
        let client = Client::open(addr, "/ws").await;
        let (name, join) = soon(told.recv()).await.unwrap();
        let Told::Join(id, with) = join else { panic!("{join:?}") };
        assert_eq!((name, &with), ("hub", &meta));
        assert_eq!(hub.connections(), [id]);
        Self { told, client, id, meta }
    }

    async fn next(&mut self) -> (&'static str, Told) {
        soon(self.told.recv()).await.unwrap()
    }
}

/// C5: join comes first, with the connection's id and values.
#[tokio::test]
async fn join() {
    let mut fixture = Fixture::joined(None).await;
    assert!(fixture.told.try_recv().is_err(), "once, and nothing else");
}

/// C5: leave comes last, with the values and the reason.
#[tokio::test]
async fn leave() {
    let mut fixture = Fixture::joined(None).await;
    fixture.client.close(4242).await;
    let reason = Reason::Peer(Some(CloseFrame::new(4242, "")));
    let leave = Told::Leave(fixture.id, reason, fixture.meta.clone());
    assert_eq!(fixture.next().await, ("hub", leave));
    assert_eq!(fixture.client.close_frame().await.0, 4242);
    assert!(fixture.told.try_recv().is_err());
}

/// C5: messages come under the topic that was chosen for the connection.
#[tokio::test]
async fn message() {
    let mut fixture = Fixture::joined(None).await;
    for text in ["one", "two"] {
        fixture.client.text(text).await;
        let message = Told::Message(fixture.id, "ws.message".into(), text.into());
        assert_eq!(fixture.next().await, ("hub", message));
    }
}

/// C5: control moves a connection to another hub, with another topic and other values: leave here, join there.
#[tokio::test]
async fn control() {
    let mut fixture = Fixture::joined(None).await;
    fixture.client.text("control").await;
    let id = fixture.id;
    let moved = Meta::new().set("user", "moved");
    let expected = [
        ("hub", Told::Message(id, "ws.message".into(), "control".into())),
        ("hub", Told::Leave(id, Reason::Moved, fixture.meta.clone())),
        ("other", Told::Join(id, moved)),
        ("other", Told::Message(id, "ws.other".into(), "hello".into())),
    ];
    for (n, expected) in expected.into_iter().enumerate() {
        if n == 3 {
            fixture.client.text("hello").await;
        }
        assert_eq!(fixture.next().await, expected);
    }
}

/// C5, C6: heartbeats come at the interval that was chosen, with counters and values.
#[tokio::test]
async fn heartbeat() {
    let mut fixture = Fixture::joined(Some(Duration::from_millis(100))).await;
    fixture.client.text("one").await;
    let mut beats = 0;
    while beats < 2 {
        if let ("hub", Told::Heartbeat(id, messages, meta)) = fixture.next().await {
            assert_eq!((id, meta), (fixture.id, fixture.meta.clone()));
            // The first may be due before the message has come.
            beats += messages;
        }
    }
}

/// C5: the hub closes a connection, with a code and a reason, and is told that the client has left.
#[tokio::test]
async fn close() {
    let mut fixture = Fixture::joined(None).await;
    fixture.client.text("close me").await;
    assert_eq!(fixture.client.close_frame().await, (4000, "as you wish".into()));
    fixture.client.close(4000).await;
    let (_, message) = fixture.next().await;
    assert!(matches!(message, Told::Message(..)));
    let reason = Reason::Local(Some(CloseFrame::new(4000, "as you wish")));
    assert_eq!(fixture.next().await, ("hub", Told::Leave(fixture.id, reason, fixture.meta.clone())));
    assert!(fixture.client.is_at_end().await);
}
