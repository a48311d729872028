//! The TCP stream in what a connection came over, if it is nothing else.

use std::any::Any;

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::rewind::Rewind;

/// Takes the stream, and what was read from it and not looked at. What is something else stays where it is.
pub(super) fn take_tcp<S: 'static>(io: &mut Option<S>) -> Option<(TcpStream, Bytes)> {
    if let Some(tcp) = as_a::<_, TcpStream>(io) {
        return Some((tcp.take()?, Bytes::new()));
    }
    if let Some(rewind) = as_a::<_, Rewind<TcpStream>>(io) {
        return Some(rewind.take()?.into_parts());
    }
    // What hyper serves, here and in most servers.
    let slot = as_a::<_, TokioIo<Upgraded>>(io)?;
    let upgraded = match slot.take()?.into_inner().downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => return Some((parts.io.into_inner(), parts.read_buf)),
        Err(upgraded) => upgraded,
    };
    match upgraded.downcast::<TokioIo<Rewind<TcpStream>>>() {
        Ok(parts) => {
            let (tcp, unread) = parts.io.into_inner().into_parts();
            let came =
                if unread.is_empty() { parts.read_buf } else { [parts.read_buf, unread].concat().into() };
            Some((tcp, came))
        }
        Err(upgraded) => {
            *slot = Some(TokioIo::new(upgraded));
            None
        }
    }
}

fn as_a<S: 'static, T: 'static>(slot: &mut Option<S>) -> Option<&mut Option<T>> {
    (slot as &mut dyn Any).downcast_mut()
}
