//! Plain HTTP alongside WebSocket: another crate's router, with bodies that arrive in pieces.

mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::{ConnectInfo, Path, Request};
use axum::routing::{any, get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use support::{Client, listen, soon, upgrade, witness};
use tokio::sync::mpsc;
use ws_actor::{Ends, Hub, Route, Server};

/// A body that consists of what is put into a channel.
struct Pieces(mpsc::UnboundedReceiver<&'static str>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece.into()))))
    }
}

/// A1: a router alongside WebSocket routes: any method, bodies in pieces either way, on connections that are kept, and an
/// upgrade after them.
#[tokio::test]
async fn a_router_beside_routes() {
    let hub = Hub::new();
    let (target, _log) = witness(&hub, "witness", true);
    let (pieces, body) = mpsc::unbounded_channel();
    let body = Arc::new(std::sync::Mutex::new(Some(Pieces(body))));
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let router = Router::new()
        .route("/hello/{name}", get(|Path(name): Path<String>| async move { format!("hello {name}") }))
        .route(
            "/ends",
            get(|Extension(ends): Extension<Ends>| async move { format!("{} {}", ends.remote, ends.local) }),
        )
        .route("/method", any(|request: Request| async move { request.method().to_string() }))
        .route(
            "/stream",
            get(move || async move { axum::body::Body::new(body.lock().unwrap().take().unwrap()) }),
        )
        .route(
            "/upload",
            post(move |request: Request| async move {
                let mut body = request.into_body();
                let mut len = 0;
                while let Some(Ok(frame)) = body.frame().await {
                    len += frame.into_data().unwrap_or_default().len();
                    let _ = arrived.send(len);
                }
                len.to_string()
            }),
        );
    let addr = listen(Server::new(&hub).route(Route::ws("/ws").target(target)).http_service(router)).await;

    let mut client = Client::new(addr).await;
    let local = client.io.local_addr().unwrap();
    let request = |request: &str| format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.request(&request("GET /hello/Ann")).await.body, "hello Ann");
    assert_eq!(client.request(&request("GET /ends")).await.body, format!("{local} {addr}"));
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
        assert_eq!(client.request(&request(&format!("{method} /method"))).await.body, method);
    }
    assert_eq!(client.request(&request("GET /nowhere")).await.status, 404);
    assert_eq!(client.request(&request("POST /hello/Ann")).await.status, 405);

    // The request's body: its first half is read before the second is sent.
    client.write(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n").await;
    client.write(&[b'x'; 100_000]).await;
    while soon(arrivals.recv()).await.unwrap() < 100_000 {}
    client.write(&[b'x'; 99_999]).await;
    assert_eq!(client.request("x").await.body, "200000");

    // The response's body: its first piece is here before there is a second.
    let head = client.request(&request("GET /stream")).await.head.to_ascii_lowercase();
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    for piece in ["one", "two"] {
        pieces.send(piece).unwrap();
        assert_eq!(client.line().await, "3");
        assert_eq!(client.line().await, piece);
    }
    drop(pieces);
    assert_eq!((client.line().await, client.line().await), ("0".to_owned(), String::new()));

    // And on the same connection:
    assert_eq!(client.request(&upgrade(addr, "/ws", "")).await.status, 101);
    client.text("hello").await;
    assert_eq!(client.read_text().await, "hello");
}

/// A service that is never ready, or fails when it is called.
#[derive(Clone)]
struct Broken {
    is_ready: bool,
}

impl tower_service::Service<http::Request<hyper::body::Incoming>> for Broken {
    type Response = http::Response<String>;
    type Error = std::io::Error;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(if self.is_ready { Ok(()) } else { Err(std::io::ErrorKind::Other.into()) })
    }

    fn call(&mut self, _: http::Request<hyper::body::Incoming>) -> Self::Future {
        std::future::ready(Err(std::io::ErrorKind::Other.into()))
    }
}

/// A1: a service that fails is a 500, without loss of the connection.
#[tokio::test]
async fn services_that_fail() {
    for is_ready in [false, true] {
        let addr = listen(Server::new(&Hub::new()).http_service(Broken { is_ready })).await;
        let mut client = Client::new(addr).await;
        for _ in 0..2 {
            assert_eq!(client.request("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.status, 500);
        }
    }
}

/// A1: an existing axum server hands its upgrades over, and keeps the rest.
#[tokio::test]
async fn hand_over_from_axum() {
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "witness", true);
    let server = Arc::new(support::driven(Server::new(&hub)).route(Route::ws("/ws").target(target)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let ws = move |ConnectInfo(remote): ConnectInfo<SocketAddr>, request: Request| async move {
        server.upgrade(request, remote, addr).await
    };
    let router = Router::new().route("/ws", any(ws)).route("/", get(|| async { "a page" }));
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let serving = tokio::spawn(async move { axum::serve(listener, service).await });

    let mut client = Client::new(addr).await;
    assert_eq!(client.request("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.body, "a page");
    assert_eq!(client.request("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n").await.status, 426);
    let mut client = Client::open(addr, "/ws").await;
    assert_eq!(log.connect().await.remote_addr, client.io.local_addr().unwrap());
    client.text("hello").await;
    assert_eq!(client.read_text().await, "hello");
    assert_eq!(hub.metrics().handshake.count(), 1);
    serving.abort();
}
