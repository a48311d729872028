//! Clocks: a program's tests may have several runtimes, some of them with their own clock.
//!
//! A single test, since it is about what comes first in a process.

mod support;

use std::time::Duration;

use support::{Client, listen, until, witness};
use tokio::runtime::Builder;
use ws_actor::{Hub, OutboxLimits, Reason, Route, Server, Settings};

/// B13, O5: deadlines pass in one runtime whatever another one's virtual clock has shown before.
#[test]
fn clocks_do_not_get_in_each_others_way() {
    let virtual_clock = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    virtual_clock.block_on(async {
        tokio::time::advance(Duration::from_secs(3_600)).await;
        // It looks at the clock, before anything else in this process does.
        drop(Server::new(&Hub::new()).on_failure(|_| ()));
    });
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let hub = Hub::new();
        let (target, mut log) = witness(&hub, "witness", false);
        let mut settings = Settings::new();
        settings.write_timeout = Duration::from_millis(100);
        let mut limits = OutboxLimits::new();
        limits.max_bytes = 64 << 20;
        let route = Route::ws("/ws").target(target).outbox(limits);
        let addr = listen(Server::new(&hub).settings(settings).route(route)).await;
        let _client = Client::open(addr, "/ws").await;
        let id = log.connect().await.id;
        assert_eq!(hub.send(id, vec![0; 32 << 20]), Ok(()));
        until("the write timeout is over", || hub.connection_count() == 0).await;
        assert_eq!(log.disconnect().await, (id, Reason::SlowConsumer));
    });
}
