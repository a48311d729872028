//! Redirects (HC-08): only if asked for, never to less security, never with secrets for others, never endlessly.

mod peer;

use std::sync::{Arc, Mutex};

use http::HeaderMap;
use peer::{fields, read_head, switch};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use ws_tokio::core::UriError;
use ws_tokio::{ConnectError, ConnectOptions, MAX_REDIRECTS, RedirectError, connect, connect_with};

/// A server that answers one connection after the other with these `Location`s, then with 101. The heads it read are
/// complete when the client has its result: it makes no connection whose answer it does not wait for.
async fn serve(status: u16, locations: Vec<String>) -> (String, Heads) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let own = authority.clone();
    let heads = Heads::default();
    let read = heads.clone();
    tokio::spawn(async move {
        for location in locations {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = read_head(&mut stream).await;
            read.0.lock().unwrap().push(head);
            let location = location.replace("SELF", &own);
            let answer =
                format!("HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 3\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        read.0.lock().unwrap().push(head.clone());
        stream.write_all(switch(&head, "").as_bytes()).await.unwrap();
    });
    (authority, heads)
}

#[derive(Clone, Default)]
struct Heads(Arc<Mutex<Vec<String>>>);

impl Heads {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn options(redirects: usize) -> ConnectOptions {
    let mut options = ConnectOptions::new();
    options.redirects = redirects;
    options.headers = HeaderMap::from_iter([
        (http::header::AUTHORIZATION, "Bearer secret".parse().unwrap()),
        (http::header::COOKIE, "secret=1".parse().unwrap()),
        (http::header::PROXY_AUTHORIZATION, "Basic secret".parse().unwrap()),
        (http::header::USER_AGENT, "me".parse().unwrap()),
    ]);
    options.protocols = vec!["p".into()];
    options
}

const SECRETS: [&str; 3] = ["Authorization", "Cookie", "Proxy-Authorization"];

/// HC-08: off by default; the redirect is a refusal, with all its fields.
#[tokio::test]
async fn off_by_default() {
    let (authority, server) = serve(302, vec!["/new".into()]).await;
    let Err(ConnectError::Status(response)) = connect(format!("ws://{authority}/old")).await else {
        panic!("followed")
    };
    assert_eq!(
        (response.status().as_u16(), &response.headers()["location"]),
        (302, &"/new".parse().unwrap())
    );
    assert_eq!(server.take().len(), 1);
}

/// HC-03, HC-08: within the origin everything is sent again, except the key.
#[tokio::test]
async fn to_the_same_origin() {
    for status in [301, 302, 303, 307, 308] {
        let locations = vec!["/new?x=1#part".into(), "http://SELF/newer".into(), "ws://SELF/newest".into()];
        let (authority, server) = serve(status, locations).await;
        connect_with(format!("ws://{authority}/old"), &options(3)).await.unwrap();
        let heads = server.take();
        let targets: Vec<_> = heads.iter().map(|head| head.split(' ').nth(1).unwrap()).collect();
        assert_eq!(targets, ["/old", "/new?x=1", "/newer", "/newest"]);
        for (n, head) in heads.iter().enumerate() {
            for secret in SECRETS {
                assert_eq!(fields(head, secret).len(), 1, "{secret} in {head}");
            }
            assert_eq!(fields(head, "Sec-WebSocket-Protocol"), ["p"]);
            let key = fields(head, "Sec-WebSocket-Key");
            assert!(heads[..n].iter().all(|other| fields(other, "Sec-WebSocket-Key") != key));
        }
    }
}

/// HC-08: another origin does not see the credentials, nor does the first when the redirects lead back there.
#[tokio::test]
async fn to_another_origin() {
    let (there, second) = serve(307, vec![]).await;
    let (here, first) = serve(307, vec!["/near".into(), format!("ws://{there}/far")]).await;
    connect_with(format!("ws://{here}/"), &options(5)).await.unwrap();
    for head in first.take() {
        for secret in SECRETS {
            assert_eq!(fields(&head, secret).len(), 1, "{secret} in {head}");
        }
    }
    let heads = second.take();
    assert_eq!(heads.len(), 1);
    for secret in SECRETS {
        assert_eq!(fields(&heads[0], secret), [""; 0], "{secret} in {}", heads[0]);
    }
    assert_eq!(fields(&heads[0], "User-Agent"), ["me"]);
    assert_eq!(fields(&heads[0], "Host"), [there]);
}

/// HC-08: as many as the options allow, and ten at most.
#[tokio::test]
async fn not_for_ever() {
    for (allowed, followed) in [(1, 1), (2, 2), (10, 10), (11, MAX_REDIRECTS), (usize::MAX, MAX_REDIRECTS)] {
        let (authority, server) = serve(302, vec!["/again".into(); followed + 1]).await;
        let result = connect_with(format!("ws://{authority}/"), &options(allowed)).await.map(|it| it.1);
        assert!(matches!(result, Err(ConnectError::Redirect(RedirectError::TooMany))), "{result:?}");
        assert_eq!(server.take().len(), followed + 1);
    }
    let (authority, server) = serve(302, vec!["/again".into(); 10]).await;
    connect_with(format!("ws://{authority}/"), &options(10)).await.unwrap();
    assert_eq!(server.take().len(), 11);
}

/// HC-08: a `Location` that is not a WebSocket address, and answers that do not redirect.
#[tokio::test]
async fn to_nowhere() {
    for (location, error) in [
        ("ftp://host/x", UriError::Scheme),
        ("ws://me:pw@host/", UriError::UserInfo),
        ("http://:80/", UriError::Host),
        ("/a b", UriError::Target),
        ("/\u{e9}", UriError::Target),
    ] {
        let (authority, server) = serve(302, vec![location.into()]).await;
        match connect_with(format!("ws://{authority}/"), &options(3)).await {
            Err(ConnectError::Redirect(RedirectError::Location(found))) => {
                assert_eq!(found, error, "{location}");
            }
            other => panic!("{location}: {:?}", other.map(|it| it.1)),
        }
        assert_eq!(server.take().len(), 1);
    }
    for status in [300, 304, 305, 404] {
        let (authority, server) = serve(status, vec!["/x".into()]).await;
        let result = connect_with(format!("ws://{authority}/"), &options(3)).await.map(|it| it.1);
        assert!(matches!(result, Err(ConnectError::Status(_))), "{result:?}");
        assert_eq!(server.take().len(), 1);
    }
}
