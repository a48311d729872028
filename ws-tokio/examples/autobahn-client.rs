//! `autobahn-client URL`: the client for the Autobahn test suite's `fuzzingserver`. Runs all cases that the suite at that
//! address has, and has the report written. What goes wrong in a case is in the report, and no reason to stop.

use std::error::Error;
use std::process::ExitCode;

use ws_tokio::core::{Config, deflate};
use ws_tokio::{ConnectOptions, connect_with};

const AGENT: &str = "ws-tokio";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:9001".to_owned());
    match run(url.trim_end_matches('/')).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(url: &str) -> Result<(), Box<dyn Error>> {
    let cases = count(url).await?;
    println!("{cases} cases");
    let mut ended = 0;
    for case in 1..=cases {
        // Many cases are about failing.
        if echo(&format!("{url}/runCase?case={case}&agent={AGENT}")).await.is_err() {
            ended += 1;
        }
    }
    println!("{ended} of them ended with an error, as they should or not: the report tells");
    // The suite may stop the moment the report is written.
    let _ = echo(&format!("{url}/updateReports?agent={AGENT}")).await;
    Ok(())
}

async fn count(url: &str) -> Result<u32, Box<dyn Error>> {
    let (mut ws, _) = connect_with(format!("{url}/getCaseCount"), &options()).await?;
    let (message, _) = ws.recv().await?.ok_or("the suite does not say how many cases it has")?;
    let count = std::str::from_utf8(message.as_bytes())?.trim().parse()?;
    while ws.recv().await?.is_some() {}
    Ok(count)
}

async fn echo(url: &str) -> Result<(), Box<dyn Error>> {
    let (mut ws, _) = connect_with(url, &options()).await?;
    while let Some((message, mut reply)) = ws.recv().await? {
        reply.send(message).await?;
    }
    Ok(())
}

/// Any compression that the suite agrees to.
fn options() -> ConnectOptions {
    let mut config = Config::client();
    config.deflate = Some(deflate::Settings::client());
    let mut options = ConnectOptions::new();
    options.config = config.into();
    options
}
