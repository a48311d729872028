//! Upgrades through another HTTP server: the answer as data, and a whole connection through axum.

mod peer;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::get;
use http::request::Builder;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use ws_tokio::core::{Config, Message, Role};
use ws_tokio::{Acceptance, ConnectError, Refusal, WebSocket, answer_upgrade, connect};

fn request() -> Builder {
    http::Request::builder()
        .uri("/chat?room=1")
        .header("Host", "example.com")
        .header("Upgrade", "websocket")
        .header("Connection", "keep-alive, Upgrade")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// HS-17: the answer has the core's fields, and the application's, line by line.
#[test]
fn agreed() {
    let request = request().header("Sec-WebSocket-Protocol", "a, b").header("Expect", "x").body(()).unwrap();
    let response = answer_upgrade(&request, Config::server(), |request| {
        assert_eq!((request.path(), request.query()), (&b"/chat"[..], Some(&b"room=1"[..])));
        let headers = ["s=1", "t=2"].map(|cookie| ("Set-Cookie".to_owned(), cookie.into()));
        Ok(Acceptance { protocol: request.protocols().last().map(Into::into), headers: headers.into() })
    });
    assert_eq!(response.status(), 101);
    let headers = response.headers();
    assert_eq!(headers["upgrade"], "websocket");
    assert_eq!(headers["connection"], "Upgrade");
    assert_eq!(headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(headers["sec-websocket-protocol"], "b");
    assert_eq!(headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["s=1", "t=2"]);
    assert!(response.body().is_empty());
}

/// HS-01, HS-02, HS-08, HS-11, HS-13: the core's rules hold here too; its own tests have the tables.
#[test]
fn broken_rules() {
    let without = |name: &str| {
        let mut builder = request();
        builder.headers_mut().unwrap().remove(name);
        builder
    };
    for (builder, status) in [
        (request().method("POST"), 405),
        (request().version(http::Version::HTTP_10), 505),
        (request().version(http::Version::HTTP_2), 505),
        (without("Host"), 400),
        (without("Upgrade"), 426),
        (without("Connection"), 400),
        (without("Sec-WebSocket-Key"), 400),
        (without("Sec-WebSocket-Version"), 400),
        (without("Sec-WebSocket-Version").header("Sec-WebSocket-Version", "8"), 426),
        (request().header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), 400),
        (request().header("Content-Length", "1"), 400),
        (request().header("X", "y".repeat(10_000)), 431),
    ] {
        let request = builder.body(()).unwrap();
        let response = answer_upgrade(&request, Config::server(), |_| panic!("asked about {status}"));
        assert_eq!(response.status(), status, "{request:?}");
        if status == 426 {
            assert!(response.headers().contains_key("upgrade"));
        }
    }
}

/// HS-16, HS-36: the application's refusal goes out as it is; its mistakes are a 500.
#[test]
fn refused() {
    let request = request().body(()).unwrap();
    let response = answer_upgrade(&request, Config::server(), |_| {
        let mut refusal = Refusal::new(401, "");
        refusal.headers.push(("WWW-Authenticate".into(), "Basic".into()));
        refusal.body = b"\xff\r\n\r\n\xfe".to_vec();
        Err(refusal)
    });
    assert_eq!((response.status().as_u16(), &response.body()[..]), (401, &b"\xff\r\n\r\n\xfe"[..]));
    assert_eq!(response.headers()["www-authenticate"], "Basic");
    type Decision = Result<Acceptance, Refusal>;
    let table: [fn() -> Decision; 3] = [
        || Ok(Acceptance { protocol: Some("not offered".into()), ..Acceptance::default() }),
        || Ok(Acceptance { headers: vec![("X".into(), b"a\r\nY: b".to_vec())], ..Acceptance::default() }),
        || Err(Refusal::new(101, "")),
    ];
    for decide in table {
        let response = answer_upgrade(&request, Config::server(), |_| decide());
        assert_eq!(response.status(), 500);
        assert!(!response.headers().contains_key("sec-websocket-accept"));
    }
}

async fn upgrade(request: Request) -> Response {
    let response = answer_upgrade(&request, Config::server(), |_| Ok(Acceptance::default()));
    if response.status() == 101 {
        tokio::spawn(async move {
            let stream = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
            let mut ws = WebSocket::from_upgraded(stream, Role::Server, &[], Config::server()).unwrap();
            while let Some((message, mut reply)) = ws.recv().await.unwrap() {
                reply.send(message).await.unwrap();
            }
        });
    }
    response.map(Body::from)
}

async fn axum() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let app = Router::new().route("/echo", get(upgrade));
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

#[tokio::test]
async fn through_axum() {
    let address = axum().await;
    let (mut ws, _) = connect(format!("ws://{address}/echo")).await.unwrap();
    for text in ["hello", &"x".repeat(100_000)] {
        ws.send(text).await.unwrap();
        assert_eq!(ws.recv().await.unwrap().unwrap().0, Message::Text(text));
    }
    ws.close(None).await.unwrap();
    let result = connect(format!("ws://{address}/elsewhere")).await.map(|it| it.1);
    assert!(matches!(result, Err(ConnectError::Status(response)) if response.status() == 404));
}

/// HS-32: frames in the same segment as the request pass through hyper's buffer.
#[tokio::test]
async fn frames_behind_the_request() {
    let address = axum().await;
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "GET /echo HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), b"\x81\x82\0\0\0\0hi"].concat()).await.unwrap();
    assert!(peer::read_head(&mut stream).await.starts_with("HTTP/1.1 101 "));
    let mut frame = [0; 4];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(&frame, b"\x81\x02hi");
}
