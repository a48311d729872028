//! The listener: HTTP and WebSocket on one port, routes, origins, refusals.

mod support;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use support::{Client, Log, frame, listen, refusals, soon, upgrade, witness};
use tokio::io::AsyncReadExt;
use ws_actor::{
    CloseCode, CloseFrame, Connect, Context, FailureReport, Hub, Inbound, Origins, Reason, Refusal, Route,
    Server, Settings, Target, WsActor,
};
use ws_core::Violation;
use ws_core::frame::Opcode;

async fn page(request: http::Request<hyper::body::Incoming>) -> http::Response<String> {
    http::Response::new(format!("{} {}", request.method(), request.uri().path()))
}

fn echo(hub: &Hub) -> (Target, Log) {
    witness(hub, "echo", true)
}

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// A1: plain HTTP and WebSocket on one port.
#[tokio::test]
async fn http_and_websocket_on_one_port() {
    let hub = Hub::new();
    let addr = listen(Server::new(&hub).route(Route::ws("/ws").target(echo(&hub).0)).on_http(page)).await;
    let mut http = Client::new(addr).await;
    let response = http.request(GET).await;
    assert_eq!((response.status, &*response.body), (200, "GET /"));
    let mut ws = Client::open(addr, "/ws").await;
    ws.text("hello").await;
    assert_eq!(ws.read_text().await, "hello");
    // The HTTP connection was kept, bodies and all.
    let post = "POST /form HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na=b";
    assert_eq!(http.request(post).await.body, "POST /form");
}

/// A1: an upgrade on a connection that spoke HTTP before goes through the same decision, and loses no early byte; HS-33:
/// what follows one that is refused is not read as a request.
#[tokio::test]
async fn upgrade_on_a_kept_connection() {
    let hub = Hub::new();
    let (target, mut log) = echo(&hub);
    let server = Server::new(&hub).route(Route::ws("/ws").target(target)).on_http(page);
    let (server, lines) = refusals(server);
    let addr = listen(server).await;

    let mut client = Client::new(addr).await;
    assert_eq!(client.request(GET).await.status, 200);
    let response = client.request(&upgrade(addr, "/ws?name=Ann", "Expect: 100-continue\r\n")).await;
    // The interim answer first, if there is one.
    let response = if response.status == 100 { client.request("").await } else { response };
    assert_eq!(response.status, 101, "{}", response.head);
    assert!(
        response.head.to_ascii_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=")
    );
    client.text("hello").await;
    assert_eq!(client.read_text().await, "hello");
    let connect = log.connect().await;
    assert_eq!((&*connect.path, &*connect.query), ("/ws", "name=Ann"));
    assert_eq!(connect.remote_addr, client.io.local_addr().unwrap());

    for (path, more, status) in [("/nowhere", "", 404), ("/ws", "Origin: http://evil.example\r\n", 403)] {
        let mut client = Client::new(addr).await;
        assert_eq!(client.request(GET).await.status, 200);
        let response = client.request(&format!("{}{GET}", upgrade(addr, path, more))).await;
        assert_eq!(response.status, status);
        assert!(client.is_at_end().await, "the connection is not used for another request");
    }
    assert_eq!(lines.lock().unwrap().len(), 2);
    let mut client = Client::new(addr).await;
    assert_eq!(client.request(GET).await.status, 200);
    let old = upgrade(addr, "/ws", "").replace("Version: 13", "Version: 8");
    let response = client.request(&old).await;
    assert_eq!(response.status, 426);
    assert!(response.head.to_ascii_lowercase().contains("sec-websocket-version: 13"));
}

/// A1, HS-30: a head is limited to 16 KiB, the first one of a connection or not; a body is not.
#[tokio::test]
async fn heads_are_limited() {
    let hub = Hub::new();
    let addr = listen(Server::new(&hub).on_http(page)).await;
    let long = |len| format!("GET / HTTP/1.1\r\nHost: x\r\nCookie: {}\r\n\r\n", "x".repeat(len));
    for is_first in [true, false] {
        for (len, status) in [(7_000, 200), (100_000, 431)] {
            let mut client = Client::new(addr).await;
            if !is_first {
                assert_eq!(client.request(GET).await.status, 200);
            }
            assert_eq!(client.request(&long(len)).await.status, status, "{len}, first: {is_first}");
        }
    }
    let body = "x".repeat(1 << 20);
    let post = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert_eq!(Client::new(addr).await.request(&post).await.status, 200);
}

/// A1: an existing HTTP server hands an upgrade over.
#[tokio::test]
async fn hand_over_from_a_hyper_server() {
    let hub = Hub::new();
    let server = Arc::new(support::driven(Server::new(&hub)).route(Route::ws("/ws").target(echo(&hub).0)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((io, remote)) = listener.accept().await {
            let server = Arc::clone(&server);
            let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let server = Arc::clone(&server);
                async move {
                    Ok::<_, Infallible>(match request.uri().path() {
                        "/" => http::Response::new("mine".into()),
                        _ => server.upgrade(request, remote, addr).await,
                    })
                }
            });
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(io), service).with_upgrades());
        }
    });
    assert_eq!(Client::new(addr).await.request(GET).await.body, "mine");
    let mut ws = Client::open(addr, "/ws").await;
    ws.text("hello").await;
    assert_eq!(ws.read_text().await, "hello");
    ws.close(1000).await;
    assert_eq!(ws.close_frame().await.0, 1000);
    let response = Client::new(addr).await.request("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(response.status, 426);
    assert!(response.head.to_ascii_lowercase().contains("upgrade: websocket"));
}

/// A1, B3: an upgrade whose response an HTTP server holds back does not remain a connection forever, and no actor waits
/// for its end.
#[tokio::test]
async fn a_hand_over_that_does_not_come() {
    let hub = Hub::new();
    let (target, mut log) = echo(&hub);
    let mut settings = Settings::new();
    settings.write_timeout = Duration::from_millis(100);
    let route = Route::ws("/ws").target(target.clone());
    let server = Arc::new(support::driven(Server::new(&hub)).settings(settings).route(route));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (decided, mut decisions) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (io, remote) = listener.accept().await.unwrap();
        let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let (server, decided) = (Arc::clone(&server), decided.clone());
            async move {
                let response = server.upgrade(request, remote, addr).await;
                decided.send(response.status()).unwrap();
                std::future::pending::<Result<http::Response<String>, Infallible>>().await
            }
        });
        let http = hyper::server::conn::http1::Builder::new();
        http.serve_connection(TokioIo::new(io), service).with_upgrades().await
    });
    let mut client = Client::new(addr).await;
    client.write(upgrade(addr, "/ws", "").as_bytes()).await;
    assert_eq!(soon(decisions.recv()).await.unwrap(), 101);
    assert_eq!(target.cast(0_u32), Ok(()));
    assert!(matches!(log.next().await, support::Seen::Cast(0)));
    assert!(soon(log.is_over()).await);
    assert_eq!(hub.connection_count(), 0);
}

/// A2: two paths reach two actors; an unknown path is 404 before any upgrade.
#[tokio::test]
async fn paths_lead_to_their_actors() {
    let hub = Hub::new();
    let (a, mut log_a) = witness(&hub, "a", false);
    let (b, mut log_b) = witness(&hub, "b", false);
    let server = Server::new(&hub).route(Route::ws("/a").target(a)).route(Route::ws("/b").target(b));
    let (server, lines) = refusals(server);
    let addr = listen(server).await;
    let _a = Client::open(addr, "/a?x=1").await;
    let _b = Client::open(addr, "/b").await;
    assert_eq!(&*log_a.connect().await.path, "/a");
    assert_eq!(&*log_b.connect().await.path, "/b");
    for path in ["/", "/ab", "/a/", "/A", "/%61", "/c?x=\"\u{e9}"] {
        let response = Client::new(addr).await.request(&upgrade(addr, path, "")).await;
        assert_eq!(response.status, 404, "{path}");
    }
    assert_eq!(hub.connection_count(), 2);
    let lines = lines.lock().unwrap();
    assert_eq!(lines.len(), 6);
    assert!(lines.iter().all(|line| line.is_ascii() && line.contains("404")), "{lines:?}");
}

/// N-08: a client's request is only quoted in part in a log, so that no line of it is long.
#[tokio::test]
async fn lines_of_a_log_are_short() {
    let hub = Hub::new();
    let (server, lines) = refusals(Server::new(&hub).route(Route::ws("/ws").target(echo(&hub).0)));
    let addr = listen(server).await;
    let path = format!("/{}", "\u{e9}".repeat(3_000));
    let origin = format!("Origin: http://{}.example\r\n", "x".repeat(3_000));
    for (path, more) in [(&*path, ""), ("/ws", &*origin)] {
        let response = Client::new(addr).await.request(&upgrade(addr, path, more)).await;
        assert!(matches!(response.status, 403 | 404));
    }
    let lines = lines.lock().unwrap();
    assert_eq!(lines.len(), 2);
    let longest = lines.iter().map(String::len).max().unwrap_or(0);
    assert!(longest < 2_000, "a line of {longest}");
}

/// A7, HS-34: the same host is allowed by default, and any other is refused with 403 before the 101, with a text that names
/// both.
#[tokio::test]
async fn origins() {
    let hub = Hub::new();
    let target = echo(&hub).0;
    let route = |path: &str| Route::ws(path).target(target.clone());
    let list = Origins::List(vec!["https://a.example".into()]);
    let custom = Origins::Custom(Arc::new(|origin| origin.ends_with(b".example")));
    let server = Server::new(&hub)
        .route(route("/same"))
        .route(route("/strict").require_origin())
        .route(route("/any").origins(Origins::Any))
        .route(route("/list").origins(list))
        .route(route("/custom").origins(custom));
    let (server, lines) = refusals(server);
    let addr = listen(server).await;
    let table = [
        ("/same", "chat.example:8080", "", 101),
        ("/same", "chat.example:8080", "Origin: http://chat.example:8080\r\n", 101),
        ("/same", "chat.example:8080", "Origin: https://CHAT.example:8080\r\n", 101),
        ("/same", "chat.example", "Origin: http://chat.example\r\n", 101),
        ("/same", "chat.example:443", "Origin: https://chat.example\r\n", 101),
        ("/same", "chat.example:80", "Origin: https://chat.example\r\n", 403),
        ("/same", "chat.example:8080", "Origin: http://chat.example\r\n", 403),
        ("/same", "chat.example:8080", "Origin: http://evil.example:8080\r\n", 403),
        ("/same", "chat.example:8080", "Origin: http://chat.example:8080.evil.example\r\n", 403),
        ("/same", "chat.example:8080", "Origin: null\r\n", 403),
        ("/same", "chat.example:8080", "Origin: \r\n", 403),
        ("/same", "a.example", "Origin: http://b.example\r\nX-Forwarded-Host: b.example\r\n", 403),
        ("/same", "a.example", "Origin: http://a.example\r\nOrigin: http://b.example\r\n", 403),
        ("/strict", "a.example", "", 403),
        ("/strict", "a.example", "Origin: http://a.example\r\n", 101),
        ("/any", "a.example", "Origin: null\r\n", 101),
        ("/list", "b.example", "Origin: https://A.example\r\n", 101),
        ("/list", "a.example", "Origin: http://a.example\r\n", 403),
        ("/list", "a.example", "Origin: https://a.example\r\nOrigin: https://b.example\r\n", 403),
        ("/custom", "x.example", "Origin: https://c.example\r\n", 101),
        ("/custom", "x.example", "Origin: https://c.example.org\r\n", 403),
    ];
    for (path, host, fields, status) in table {
        let head = upgrade(addr, path, fields).replace(&addr.to_string(), host);
        let response = Client::new(addr).await.request(&head).await;
        assert_eq!(response.status, status, "{path} {host} {fields}");
    }
    let evil = "Origin: http://evil.example/\u{1b}[31m\r\n".replace('\u{1b}', "\u{80}");
    let response = Client::new(addr).await.request(&upgrade(addr, "/same", &evil)).await;
    let host = format!("Host: {addr}");
    assert_eq!(response.status, 403);
    assert!(response.body.contains("Origin: http://evil.example/") && response.body.contains(&host));
    let lines = lines.lock().unwrap();
    let last = lines.last().unwrap();
    assert!(
        last.contains("Origin: http://evil.example/") && last.contains(&host) && last.is_ascii(),
        "{last}"
    );
    assert_eq!(lines.len(), 1 + table.iter().filter(|row| row.3 == 403).count());
}

/// A13: a malformed upgrade is refused with its own status, where plain HTTP is also served and where it is not; HS-33: what
/// follows it is not read as a request.
#[tokio::test]
async fn malformed_upgrades() {
    for beside_http in [false, true] {
        let hub = Hub::new();
        let server = Server::new(&hub).route(Route::ws("/ws").target(echo(&hub).0));
        let (server, lines) = refusals(if beside_http { server.on_http(page) } else { server });
        let addr = listen(server).await;
        let good = upgrade(addr, "/ws", "");
        let table = [
            (good.replace("GET", "POST"), 405, "Allow: GET"),
            (good.replace("dGhlIHNhbXBsZSBub25jZQ==", "short"), 400, "Connection: close"),
            (good.replace("Sec-WebSocket-Key", "X"), 400, "Connection: close"),
            (good.replace("Version: 13", "Version: 8"), 426, "Sec-WebSocket-Version: 13"),
            (good.replace("Version: 13", "Version: x"), 400, "Sec-WebSocket-Version: 13"),
            (good.replace("Connection: Upgrade", "Connection: close"), 400, "Connection: close"),
            (good.replace("Host", "X"), 400, "Connection: close"),
        ];
        for (head, status, field) in &table {
            let mut client = Client::new(addr).await;
            let response = client.request(&format!("{head}{GET}")).await;
            assert_eq!(response.status, *status, "{head}");
            assert!(response.head.contains(field), "{}", response.head);
            assert!(client.is_at_end().await);
        }
        let response = Client::new(addr).await.request(GET).await;
        assert_eq!(response.status, if beside_http { 200 } else { 426 });
        assert_eq!(hub.connection_count(), 0);
        let expected = table.len() + usize::from(!beside_http);
        support::until("all are reported", || lines.lock().unwrap().len() == expected).await;
    }
}

/// HS-31: a client that does not finish its request in time is told so, and others are served meanwhile.
#[tokio::test]
async fn handshake_deadline() {
    let hub = Hub::new();
    let mut settings = Settings::new();
    // Long enough for the quick one, however busy the machine is.
    settings.protocol.timeouts.handshake = Duration::from_secs(2);
    settings.protocol.timeouts.linger = Duration::from_millis(100);
    settings.max_handshakes = 2;
    let server = Server::new(&hub).settings(settings).route(Route::ws("/ws").target(echo(&hub).0));
    let addr = listen(server).await;
    let mut slow = Client::new(addr).await;
    slow.write(b"GET /ws HTTP/1.1\r\nHost").await;
    let mut quick = Client::open(addr, "/ws").await;
    quick.text("hello").await;
    assert_eq!(quick.read_text().await, "hello");
    assert_eq!(slow.request("").await.status, 408);
    // As many as may be in the handshake at a time stall; the next is served when their time is up.
    let mut stalled = Vec::new();
    for _ in 0..6 {
        stalled.push(Client::new(addr).await);
    }
    let mut last = Client::open(addr, "/ws").await;
    last.text("served").await;
    assert_eq!(last.read_text().await, "served");
}

/// HS-32: frames that came with the request are the connection's first messages.
#[tokio::test]
async fn frames_behind_the_head() {
    let hub = Hub::new();
    let addr = listen(Server::new(&hub).route(Route::ws("/ws").target(echo(&hub).0))).await;
    let mut bytes = upgrade(addr, "/ws", "").into_bytes();
    for n in 0..100 {
        bytes.extend(frame(true, Opcode::Text, n.to_string().as_bytes()));
    }
    let mut client = Client::new(addr).await;
    client.write(&bytes).await;
    assert_eq!(client.request("").await.status, 101);
    for n in 0..100 {
        assert_eq!(client.read_text().await, n.to_string());
    }
}

struct Counter {
    connects: u32,
}

impl WsActor for Counter {
    type Cast = ();

    async fn connect(&mut self, cx: &mut Context<Self>, connect: Connect) {
        self.connects += 1;
        let _ = cx.send(connect.id, format!("you are number {}", self.connects));
    }

    async fn message(&mut self, _: &mut Context<Self>, _: Inbound) {}
}

/// C1, C4: one actor with its own state takes all connections.
#[tokio::test]
async fn one_actor_for_all() {
    let hub = Hub::new();
    let counter = hub.spawn("counter", || Counter { connects: 0 }).unwrap();
    assert!(hub.spawn("counter", || Counter { connects: 9 }).is_err());
    assert_eq!(hub.lookup("counter").unwrap().name(), counter.name());
    let addr = listen(
        Server::new(&hub)
            .route(Route::ws("/one").target(counter.clone()))
            .route(Route::ws("/two").target(counter)),
    )
    .await;
    for n in 1..=20 {
        let mut client = Client::open(addr, if n % 2 == 0 { "/one" } else { "/two" }).await;
        assert_eq!(client.read_text().await, format!("you are number {n}"));
    }
}

/// C1: connections go round robin to several actors on a route; one that ended is passed over, and without any it is 503.
#[tokio::test]
async fn dealt_round_robin() {
    let hub = Hub::new();
    let (a, mut log_a) = witness(&hub, "a", false);
    let (b, mut log_b) = witness(&hub, "b", false);
    let route = Route::ws("/ws").target(a.clone()).target(b.clone());
    let addr = listen(Server::new(&hub).route(route).route(Route::ws("/none"))).await;
    for _ in 0..2 {
        let first = Client::open(addr, "/ws").await;
        log_a.connect().await;
        let second = Client::open(addr, "/ws").await;
        log_b.connect().await;
        drop((first, second));
        log_a.disconnect().await;
        log_b.disconnect().await;
    }
    assert_eq!(a.cast(0_u32), Ok(()));
    support::until("the name is free", || hub.lookup("a").is_none()).await;
    let _clients = [Client::open(addr, "/ws").await, Client::open(addr, "/ws").await];
    log_b.connect().await;
    log_b.connect().await;
    assert_eq!(b.cast(0_u32), Ok(()));
    support::until("the name is free", || hub.lookup("b").is_none()).await;
    for path in ["/ws", "/none"] {
        let response = Client::new(addr).await.request(&upgrade(addr, path, "")).await;
        assert_eq!(response.status, 503);
        assert!(response.head.contains("Retry-After"));
    }
}

/// N-08: a connection that fails is reported with its kind, its peer and the section, one that is closed is not.
#[tokio::test]
async fn failures_are_reported() {
    let hub = Hub::new();
    let (target, mut log) = echo(&hub);
    let reports = Arc::<Mutex<Vec<FailureReport>>>::default();
    let to = Arc::clone(&reports);
    let serve = async |close: Duration| {
        let mut settings = Settings::new();
        settings.protocol.timeouts.close = close;
        let to = Arc::clone(&to);
        let server = Server::new(&hub)
            .settings(settings)
            .route(Route::ws("/ws").target(&target))
            .on_http(page)
            .on_failure(move |report| to.lock().unwrap().push(report.clone()));
        listen(server).await
    };
    let addr = serve(2 * support::LONG).await;

    let mut closed = Client::open(addr, "/ws").await;
    closed.close(1000).await;
    log.disconnect().await;
    let mut closed = Client::open(addr, "/ws").await;
    assert!(hub.close(log.connect().await.id, CloseFrame::new(CloseCode::NORMAL, "")).is_ok());
    closed.close_frame().await;
    closed.close(1000).await;
    log.disconnect().await;
    assert_eq!(reports.lock().unwrap().len(), 0);

    // Read by ws-tokio, and by hyper.
    let addr = serve(Duration::from_millis(50)).await;
    for is_kept in [false, true] {
        for (bytes, failure, section) in [
            // Reserved bits; text that is none; no more bytes; bytes enough, but no answer to a close frame.
            (&[0xF1, 0x80, 0, 0, 0, 0][..], Reason::Protocol(Violation::ReservedBit), "5.2"),
            (&[0x81, 0x81, 0, 0, 0, 0, 0xFF], Reason::Protocol(Violation::InvalidUtf8), "8.1"),
            (&[], Reason::Io(std::io::ErrorKind::UnexpectedEof), "7.1.5"),
            (&[0x81, 0x80, 0, 0, 0, 0], Reason::Timeout(ws_core::Timer::Close), "7.1.1"),
        ] {
            let mut client = Client::new(addr).await;
            if is_kept {
                assert_eq!(client.request(GET).await.status, 200);
            }
            assert_eq!(client.request(&upgrade(addr, "/ws", "")).await.status, 101);
            let id = log.connect().await.id;
            let peer = client.io.local_addr().unwrap();
            client.write(bytes).await;
            match failure {
                Reason::Io(_) => drop(client),
                Reason::Timeout(_) => {
                    assert!(hub.close(id, CloseFrame::new(CloseCode::NORMAL, "")).is_ok());
                    client.close_frame().await;
                }
                _ => {}
            }
            log.disconnect().await;
            let report = reports.lock().unwrap().pop().expect("it is reported before the actor is told");
            assert_eq!((report.remote_addr, report.id, &report.failure), (peer, id, &failure));
            let section = format!("RFC 6455, section {section}");
            assert_eq!((report.section, report.suppressed), (&*section, 0));
            let line = report.to_string();
            assert!(line.contains(&peer.to_string()) && line.ends_with(&format!(" ({section})")), "{line}");
            assert_eq!(line.matches("section").count(), 1, "{line}");
        }
    }
    assert_eq!(reports.lock().unwrap().len(), 0);
}

/// N-08: a flood of bad requests makes no flood of reports, and those that are left out are counted.
#[tokio::test]
async fn reports_are_limited() {
    let hub = Hub::new();
    let reports = Arc::<Mutex<Vec<Refusal>>>::default();
    let to = Arc::clone(&reports);
    let server = Server::new(&hub).on_refusal(move |refusal| to.lock().unwrap().push(refusal.clone()));
    let addr = "127.0.0.1:80".parse().unwrap();
    let refuse = async || {
        let request = http::Request::get("/nowhere")
            .header("Host", "x")
            .header("Upgrade", "websocket")
            .header("Connection", "Upgrade")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("Sec-WebSocket-Version", "13");
        assert_eq!(server.upgrade(request.body(()).unwrap(), addr, addr).await.status(), 404);
    };
    let start = std::time::Instant::now();
    for _ in 0..1_000 {
        refuse().await;
    }
    let most = 100 + start.elapsed().as_millis() / 10 + 1;
    let told = reports.lock().unwrap().len();
    assert!(told >= 100 && told as u128 <= most, "{told} of at most {most}");
    tokio::time::sleep(Duration::from_millis(20)).await;
    refuse().await;
    let reports = reports.lock().unwrap();
    let suppressed: u64 = reports.iter().map(|report| report.suppressed).sum();
    assert_eq!(suppressed + reports.len() as u64, 1_001);
    let last = reports.last().unwrap();
    assert_eq!((last.remote_addr, last.section), (addr, "RFC 6455, section 4.2.2"));
    let line = last.to_string();
    assert!(
        last.suppressed == 0 || line.ends_with(&format!("; {} more before it", last.suppressed)),
        "{line}"
    );
}

/// N-08: what a peer sends cannot end a line of the log or steer the terminal that shows it.
#[tokio::test]
async fn reports_are_escaped() {
    let hub = Hub::new();
    let (server, lines) = refusals(Server::new(&hub).route(Route::ws("/ws").target(echo(&hub).0)));
    let addr = listen(server).await;
    // NEL, CSI and the override of the writing direction, as UTF-8; LF and ESC as such are no part of a request.
    let table = [
        ("/\u{85}\u{9b}31m\u{202e}", "", 404, r"\xc2\x85\xc2\x9b31m"),
        ("/ws", "Origin: http://\u{85}\u{9b}31m\u{202e}\r\n", 403, r"\xc2\x85\xc2\x9b31m"),
        ("/a\nb", "", 400, ""),
        ("/a\u{1b}[31m", "", 400, ""),
    ];
    for (path, more, status, escaped) in table {
        let response = Client::new(addr).await.request(&upgrade(addr, path, more)).await;
        assert_eq!(response.status, status, "{path:?}");
        support::until("it is reported", || !lines.lock().unwrap().is_empty()).await;
        let line = lines.lock().unwrap().remove(0);
        assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line:?}");
        assert!(line.contains(escaped), "{line}");
    }
}

/// A stopped listener accepts no more connections, and leaves open ones alone.
#[tokio::test]
async fn stop_listening() {
    let hub = Hub::new();
    let server = Server::new(&hub).route(Route::ws("/ws").target(echo(&hub).0));
    let listening = support::driven(server).listen("127.0.0.1:0").await.unwrap();
    let addr = listening.local_addr();
    assert!(
        Server::new(&hub)
            .listen(addr)
            .await
            .is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
    );
    let mut client = Client::open(addr, "/ws").await;
    listening.stop();
    soon(listening.stopped()).await;
    client.text("still here").await;
    assert_eq!(client.read_text().await, "still here");
    if let Ok(mut late) = tokio::net::TcpStream::connect(addr).await {
        assert_eq!(late.read(&mut [0]).await.unwrap_or(0), 0);
    }
}
