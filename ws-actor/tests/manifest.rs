//! Servers described as data.

mod support;

use support::{Client, soon, until, upgrade};
use ws_actor::{
    ActorSpec, Catalog, Connect, Context, Hub, Inbound, Manifest, ManifestError, Meta, Recovery, Relay,
    Response, RouteSpec, SpawnError, Upgrade, Value, WsActor,
};

/// Sends its name, and what it knows of a new connection.
struct Greeter {
    greeting: String,
    seen: u64,
}

impl WsActor for Greeter {
    type Cast = ();

    async fn connect(&mut self, cx: &mut Context<Self>, connect: Connect) {
        self.seen += 1;
        let user = connect.meta.text("user").unwrap_or("nobody").to_owned();
        let room = connect.params.value("room").unwrap_or("no room").to_owned();
        let Self { greeting, seen } = self;
        let words = format!("{greeting} {user} ({room}, {}), number {seen}", connect.topic);
        let _ = cx.send(connect.id, words);
    }

    async fn message(&mut self, _: &mut Context<Self>, inbound: Inbound) {
        assert_ne!(inbound.message.as_text(), Some("panic"));
    }
}

fn catalog() -> Catalog {
    Catalog::new()
        .actor("greeter", |config: &Value| Greeter {
            greeting: config["greeting"].as_str().unwrap_or("hello").to_owned(),
            seen: 0,
        })
        .auth("token", async |upgrade: Upgrade| match upgrade.header("authorization") {
            Some(user) => Ok(Relay::new().meta(Meta::new().set("user", user))),
            None => Err(Response::new(401, "who are you?\n")),
        })
}

fn manifest() -> Manifest {
    let mut polite = ActorSpec::new("polite", "greeter");
    polite.config = serde_json::json!({ "greeting": "good day" });
    polite.options.on_panic = Recovery::Restart;
    let mut guarded = RouteSpec::new("/ws/:room");
    guarded.targets = vec!["polite".into()];
    guarded.auth = Some("token".into());
    guarded.topic = "said".into();
    guarded.limits.max_connections = Some(1);
    let mut open = RouteSpec::new("/open");
    open.targets = vec!["plain".into(), "polite".into()];
    open.meta = Meta::new().set("user", "guest");
    open.envelope = true;
    open.topic = "open".into();
    let mut manifest = Manifest::new("127.0.0.1:0").actor("plain", "greeter").route(guarded).route(open);
    manifest.actors.push(polite);
    manifest
}

/// C11: everything is started: the port, the actors of their configuration, the routes with their decisions, limits,
/// topics and values.
#[tokio::test]
async fn starts_by_itself() {
    let hub = Hub::new();
    let listening = manifest().start(&hub, &catalog()).await.unwrap();
    let addr = listening.local_addr();
    let mut refused = Client::new(addr).await;
    assert_eq!(refused.request(&upgrade(addr, "/ws/a", "")).await.status, 401);
    let mut ann = Client::new(addr).await;
    let head = upgrade(addr, "/ws/a%20b", "Authorization: Ann\r\n");
    assert_eq!(ann.request(&head).await.status, 101);
    assert_eq!(ann.read_text().await, "good day Ann (a b, said), number 1");
    let mut bob = Client::new(addr).await;
    assert_eq!(bob.request(&upgrade(addr, "/ws/c", "Authorization: Bob\r\n")).await.status, 503);
    for (expected, number) in [("hello", 1), ("good day", 2), ("hello", 2)] {
        let mut guest = Client::open(addr, "/open").await;
        let expected =
            format!(r#"{{"topic":"open","data":"{expected} guest (no room, open), number {number}"}}"#);
        assert_eq!(guest.read_text().await, expected);
    }
    // It is made again of the same configuration.
    ann.text("panic").await;
    assert_eq!(ann.read_text().await, "good day Ann (a b, said), number 1");
    assert_eq!(Client::new(addr).await.request(&upgrade(addr, "/ws", "")).await.status, 404);
    listening.stop();
    soon(listening.stopped()).await;
}

/// C11, C4: a configuration that cannot be started is reported with the reason, and leaves nothing behind: no actor, no
/// port.
#[tokio::test]
async fn all_or_nothing() {
    let hub = Hub::new();
    let holder = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    type Spoil = Box<dyn Fn(&mut Manifest)>;
    let table: Vec<(Spoil, &str)> = vec![
        (Box::new(move |m| m.listen = taken.clone()), "cannot be listened on"),
        (Box::new(|m| m.listen = "nowhere".into()), "cannot be listened on"),
        (Box::new(|m| m.actors[1].kind = "hermit".into()), r#"actor "polite": there is no kind "hermit""#),
        (
            Box::new(|m| m.actors[1].name = "plain".into()),
            r#"actor "plain": an actor of this name runs already"#,
        ),
        (Box::new(|m| m.actors[1].name = "running".into()), r#"actor "running": an actor of this name"#),
        (
            Box::new(|m| m.routes[0].auth = Some("key".into())),
            r#"route "/ws/:room": there is no decision "key""#,
        ),
        (Box::new(|m| m.routes[1].targets.push("gone".into())), r#"route "/open": there is no actor "gone""#),
        (Box::new(|m| m.routes[1].targets.clear()), r#"route "/open" leads nowhere"#),
        (Box::new(|m| m.routes[1].path = "/ws/:room".into()), r#"there are two routes "/ws/:room""#),
    ];
    let (running, _log) = support::witness(&hub, "running", false);
    for (spoil, expected) in table {
        let mut manifest = manifest();
        spoil(&mut manifest);
        let error = manifest.start(&hub, &catalog()).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}, not {expected}");
        assert!(hub.lookup("plain").is_none() && hub.lookup("polite").is_none(), "{expected}");
    }
    let mut manifest = manifest();
    let catalog = catalog().actor("racer", |_: &Value| Greeter { greeting: String::new(), seen: 0 });
    manifest.actors.push(ActorSpec::new("late", "racer"));
    // Targets that run already are as good.
    manifest.routes[1].targets.push("running".into());
    assert!(running.is_open());
    let listening = manifest.start(&hub, &catalog).await.unwrap();
    let again = manifest.server(&hub, &catalog).unwrap_err();
    assert!(matches!(again, ManifestError::Spawn { error: SpawnError::NameTaken, .. }));
    assert!(hub.lookup("late").is_some());
    listening.stop();
}

/// C11: without a runtime there is no server, and no panic.
#[test]
fn no_runtime() {
    let hub = Hub::new();
    let error = manifest().server(&hub, &catalog()).unwrap_err();
    assert!(matches!(error, ManifestError::Spawn { error: SpawnError::NoRuntime, .. }));
    assert!(hub.lookup("plain").is_none());
}

/// C11: `server` leaves the listening to the caller, who may add to it.
#[tokio::test]
async fn with_more_than_data() {
    let hub = Hub::new();
    let server = manifest().server(&hub, &catalog()).unwrap();
    let server = server.on_http(|_| async { http::Response::new("page".to_owned()) });
    let addr = support::listen(server).await;
    let response = Client::new(addr).await.request("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!((response.status, &*response.body), (200, "page"));
    let _guest = Client::open(addr, "/open").await;
    until("it is here", || hub.connection_count() == 1).await;
}
