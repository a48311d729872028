//! Each framework's actor counts the messages of all its clients; when it ends, they are closed with 1011.

use std::time::Duration;

use ws_actor::{Hub, Route, Server, Target};
use ws_core::Message;
use ws_frameworks::{with_kameo, with_ractor};
use ws_tokio::connect;

async fn counts(hub: &Hub, target: Target) {
    let server = Server::new(hub).route(Route::ws("/ws").target(&target));
    let addr = server.listen("127.0.0.1:0").await.unwrap().local_addr();
    let url = format!("ws://{addr}/ws");
    let mut clients = [connect(&*url).await.unwrap().0, connect(&*url).await.unwrap().0];
    for n in 1..=100_u32 {
        let client = &mut clients[n as usize % 2];
        client.send(Message::Text("count")).await.unwrap();
        let (message, _) = client.recv().await.unwrap().unwrap();
        assert!(matches!(message, Message::Text(text) if text == n.to_string()));
    }
    clients[0].send(Message::Text("stop")).await.unwrap();
    let (message, _) = clients[0].recv().await.unwrap().unwrap();
    assert!(matches!(message, Message::Text("101")));
    // An actor that is gone is noticed at the next event.
    clients[1].send(Message::Text("count")).await.unwrap();
    for client in &mut clients {
        assert!(client.recv().await.unwrap().is_none());
    }
    tokio::time::timeout(Duration::from_secs(60), target.ended()).await.unwrap();
}

#[tokio::test]
async fn kameo() {
    let hub = Hub::new();
    counts(&hub, with_kameo::target(&hub, "kameo").unwrap()).await;
}

#[tokio::test]
async fn ractor() {
    let hub = Hub::new();
    counts(&hub, with_ractor::target(&hub, "ractor").await.unwrap()).await;
}
