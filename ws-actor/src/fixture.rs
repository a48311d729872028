//! What unit tests share: connections without sockets, and a waker that counts.

use std::any::TypeId;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use ws_core::Role;

use crate::entry::{Entry, Terms, Way, Who};
use crate::event::CloseFrame;
use crate::hub::Hub;
use crate::link::Link;
use crate::mailbox::Mailbox;
use crate::meta::Meta;
use crate::outbox::{Out, OutboxLimits};
use crate::outgoing::Control;
use crate::path::Params;
use crate::target::Target;

/// A target whose mailbox the test reads itself.
pub(crate) fn target() -> Target {
    Target::new("fixture".into(), Arc::<Mailbox>::default(), TypeId::of::<u32>())
}

pub(crate) fn who() -> Who {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let (path, query) = ("/".into(), "".into());
    let (role, params) = (Role::Server, Params::default());
    let way = Way { role, local_addr: addr, path, params, query, subprotocol: None, envelope: false };
    Who { remote_addr: addr, way: Arc::new(way) }
}

pub(crate) fn terms() -> Terms {
    Terms { topic: "".into(), meta: Meta::new(), heartbeat: None }
}

pub(crate) fn entry(hub: &Hub) -> Arc<Entry> {
    hub.new_entry(OutboxLimits::new().into(), who(), terms())
}

/// A connection whose actor has not heard of it yet.
pub(crate) fn open(hub: &Hub, target: &Target, limits: OutboxLimits) -> Link {
    Link::open(hub, &target.into(), limits, who(), terms()).expect("the target is open")
}

pub(crate) fn link(hub: &Hub, target: &Target, limits: OutboxLimits) -> Link {
    let mut link = open(hub, target, limits);
    assert_eq!(link.poll_deliver(&noop()), Poll::Ready(Ok(())));
    link
}

pub(crate) fn noop() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Everything that a connection has to write, in words.
pub(crate) fn written(link: &Link) -> Vec<String> {
    let mut words = Vec::new();
    while let Poll::Ready(out) = link.poll_outgoing(&noop()) {
        words.push(word(&out));
    }
    words
}

pub(crate) fn word(out: &Out) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match out {
        Out::Data(frame) => text(frame.payload()),
        Out::Control(Control::Ping(bytes)) => format!("ping {}", text(bytes)),
        Out::Control(Control::Pong(bytes)) => format!("pong {}", text(bytes)),
        Out::Close(None) => "close".into(),
        Out::Close(Some(CloseFrame { code, .. })) => format!("close {code}"),
    }
}

/// Counts how often it is woken.
#[derive(Default)]
pub(crate) struct Count(AtomicUsize);

impl Count {
    pub(crate) fn woken(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
