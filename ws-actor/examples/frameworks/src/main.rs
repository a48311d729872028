//! Serves both: `cargo run`, then connect to `ws://127.0.0.1:8080/kameo` or `/ractor`.

use ws_actor::{Hub, Route, Server};
use ws_frameworks::{with_kameo, with_ractor};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hub = Hub::new();
    let kameo = with_kameo::target(&hub, "kameo")?;
    let ractor = with_ractor::target(&hub, "ractor").await.map_err(|error| format!("{error:?}"))?;
    let listening = Server::new(&hub)
        .route(Route::ws("/kameo").target(kameo))
        .route(Route::ws("/ractor").target(ractor))
        .listen("127.0.0.1:8080")
        .await?;
    println!("ws://{0}/kameo and ws://{0}/ractor", listening.local_addr());
    listening.stopped().await;
    Ok(())
}
