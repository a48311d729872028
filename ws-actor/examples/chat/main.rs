//! A chat with rooms: who is here, who is typing, what was said before, and a view for its operator.
//!
//! ```text
//! cargo run --release --example chat [ADDRESS]        the default is 127.0.0.1:8080
//! ```
//!
//! | file | is |
//! |---|---|
//! | `main.rs` | the routes, and who may come in by them |
//! | `names.rs` | the names of people: the decision before the `101` |
//! | `chat.rs` | the actor of everybody who chats: rooms, presence, typing |
//! | `board.rs` | the actor for viewers of the list of rooms and of the metrics |
//! | `page.html` | the page; the wire is described at the top of its script |

use std::process::ExitCode;

use http::{Request, Response};
use ws_actor::{Hub, Limits, OverRate, Rate, RateLimit, Relay, Route, Server, SpawnError, Upgrade, deflate};

use board::{Board, Watch};
use chat::Chat;
use names::Names;
use page::{cannot_listen, line, page, secret};

mod board;
mod chat;
mod names;
#[path = "../shared/page.rs"]
mod page;
#[cfg(test)]
mod tests;

/// The whole server, except for the address. Knowing the token opens `/admin`.
fn server(hub: &Hub, token: &str) -> Result<Server, SpawnError> {
    let names = Names::default();
    let (chat, board) = (Chat::spawn(hub, &names)?, Board::spawn(hub)?);

    // The most that anybody can say; a client that tries more is read no faster, and the others notice nothing.
    let mut limits = Limits::new();
    limits.max_connections = Some(10_000);
    limits.max_message = Some(16 << 10);
    limits.rate = Some(RateLimit::messages(Rate::per_second(5).burst(25)).action(OverRate::Delay));

    let (at_door, at_desk, token) = (names.clone(), names, token.to_owned());
    Ok(Server::new(hub)
        .limits(limits)
        .route(Route::ws("/ws").target(chat).deflate(deflate::Settings::server()).decide(move |upgrade| {
            let decision = at_door.decide(&upgrade.query).map_err(ws_actor::Response::from);
            async { decision }
        }))
        .route(Route::ws("/lobby").target(&board).decide(|_| async { Relay::new().topic(Watch::Lobby) }))
        .route(Route::ws("/admin").target(&board).decide(move |upgrade: Upgrade| {
            let may = upgrade.query_value("token").is_some_and(|given| given == token);
            async move {
                let refused = ws_actor::Response::new(403, "This is not the token that the server printed.");
                if may { Ok(Relay::new().topic(Watch::Admin)) } else { Err(refused) }
            }
        }))
        .on_http(move |request| {
            let response = plain(&at_desk, &request);
            async { response }
        })
        .on_refusal(|refusal| eprintln!("chat: {refusal}")))
}

/// Plain HTTP: the page, and the reason for a refusal.
fn plain<B>(names: &Names, request: &Request<B>) -> Response<String> {
    match request.uri().path() {
        "/" | "/admin" => page(include_str!("page.html")),
        // The same question as that of the upgrade, from a page that was refused and may not see the answer.
        "/ws" => match names.decide(request.uri().query().unwrap_or_default()) {
            Ok(_) => line(200, "Come in."),
            Err(refused) => line(refused.status(), &refused.to_string()),
        },
        _ => line(404, "There is no such page."),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let (hub, token) = (Hub::new(), secret());
    let server = server(&hub, &token).expect("this Hub has no other actors");
    match server.listen(&addr).await {
        Ok(listening) => {
            let url = format!("http://{}", listening.local_addr());
            println!("Open {url}/ in a browser, or in two. Ctrl-C ends it.");
            // Behind the # only the page sees it.
            println!("Its view from above: {url}/admin#{token}");
            listening.stopped().await;
            ExitCode::SUCCESS
        }
        Err(error) => {
            cannot_listen("chat", &addr, &error);
            ExitCode::FAILURE
        }
    }
}
