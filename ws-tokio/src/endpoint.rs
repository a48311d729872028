//! What the driver (`drive.rs`) drives: a connection in one piece, or the receiving half of a split one.

use tokio::io::{AsyncRead, AsyncWrite};
use ws_core::{Config, Connection, Endpoint, Failure, Instant, Receiver, Sender, Transport};

use crate::deflate;
use crate::wire::{CORK, Wire};

/// With this many bytes of pongs that cannot leave, a reading half stops reading.
const MANY_ANSWERS: usize = 1 << 10;

/// What is driven: a whole connection, or a receiving half with its sending half beside it.
pub(crate) trait Drive: Endpoint {
    /// The sending half, where it is not part of the endpoint.
    type Beside;

    fn pending(&self, beside: &Self::Beside) -> usize;

    /// Whether to read on with this much output queued: a peer that does not read is not read from (C-06, N-05).
    fn may_read(&self, beside: &Self::Beside, queued: usize) -> bool;

    fn queue_control<S>(&mut self, beside: &mut Self::Beside, wire: &mut Wire<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin;
    fn transport(&self, beside: &Self::Beside) -> Transport;
    fn deadline(&self, beside: &Self::Beside) -> Option<Instant>;
    fn tick(&mut self, beside: &mut Self::Beside, now: Instant) -> Result<(), Failure>;
    fn recv_eof(&mut self, beside: &mut Self::Beside, now: Instant) -> Result<(), Failure>;
    /// Nothing leaves from now on: the peer has as long as for a close to end the connection.
    fn stop_sending(&mut self, beside: &mut Self::Beside, now: Instant);
    fn shut_down(&mut self, now: Instant);
    fn observe(&mut self, now: Instant);
    fn pause(&mut self, now: Instant);
    fn can_recv(&self) -> bool;
    fn can_send(&self, beside: &Self::Beside) -> bool;
    fn remaining(&self) -> u64;
    fn linger_room(&self) -> Option<usize>;
    fn awaits_pong_since(&self) -> Option<Instant>;
    fn config(&self) -> &Config;
    /// Whether a sending half beside it holds a live compressor.
    fn is_live_beside(beside: &Self::Beside) -> bool;
    /// Parks that compressor if it was not used of late.
    fn park_beside(beside: &mut Self::Beside) -> bool;
}

impl Drive for Connection {
    type Beside = ();

    fn pending(&self, (): &()) -> usize {
        self.pending()
    }

    fn may_read(&self, (): &(), queued: usize) -> bool {
        queued < CORK
    }

    fn queue_control<S: AsyncRead + AsyncWrite + Unpin>(&mut self, (): &mut (), wire: &mut Wire<S>) {
        wire.queue_control(self);
    }

    fn transport(&self, (): &()) -> Transport {
        self.transport()
    }

    fn deadline(&self, (): &()) -> Option<Instant> {
        self.deadline()
    }

    fn tick(&mut self, (): &mut (), now: Instant) -> Result<(), Failure> {
        self.tick(now)
    }

    fn recv_eof(&mut self, (): &mut (), now: Instant) -> Result<(), Failure> {
        self.recv_eof(now)
    }

    fn stop_sending(&mut self, (): &mut (), now: Instant) {
        // Refused when it is closing already, with the deadline set.
        let _ = self.close(now, None);
    }

    fn shut_down(&mut self, now: Instant) {
        self.shut_down(now);
    }

    fn observe(&mut self, now: Instant) {
        self.observe(now);
    }

    fn pause(&mut self, now: Instant) {
        self.pause(now);
    }

    fn can_recv(&self) -> bool {
        self.can_recv()
    }

    fn can_send(&self, (): &()) -> bool {
        self.can_send()
    }

    fn remaining(&self) -> u64 {
        self.remaining()
    }

    fn config(&self) -> &Config {
        self.config()
    }

    fn is_live_beside((): &()) -> bool {
        false
    }

    /// Parks that compressor if it was not used of late.
    fn park_beside((): &mut ()) -> bool {
        false
    }

    fn linger_room(&self) -> Option<usize> {
        self.linger_room()
    }

    fn awaits_pong_since(&self) -> Option<Instant> {
        self.awaits_pong_since()
    }
}

impl Drive for Receiver {
    type Beside = Sender;

    fn pending(&self, sender: &Sender) -> usize {
        sender.pending()
    }

    /// Messages of the writing half hold up only that half: two peers that each wait for the other to read would wait
    /// for ever. Only answers that pile up stop the reading.
    fn may_read(&self, sender: &Sender, queued: usize) -> bool {
        queued < CORK || sender.pending() < MANY_ANSWERS
    }

    fn queue_control<S: AsyncRead + AsyncWrite + Unpin>(&mut self, sender: &mut Sender, wire: &mut Wire<S>) {
        wire.queue_control(sender);
        if sender.take_ping_left() {
            self.ping_left();
        }
    }

    fn transport(&self, sender: &Sender) -> Transport {
        self.transport(sender.pending())
    }

    fn deadline(&self, sender: &Sender) -> Option<Instant> {
        if Drive::transport(self, sender) == Transport::Close { None } else { self.deadline() }
    }

    fn tick(&mut self, sender: &mut Sender, now: Instant) -> Result<(), Failure> {
        match self.tick(now) {
            Ok(Some(reply)) => sender.reply(reply),
            Ok(None) => {}
            Err(failure) => {
                sender.stop();
                return Err(failure);
            }
        }
        Ok(())
    }

    fn recv_eof(&mut self, sender: &mut Sender, now: Instant) -> Result<(), Failure> {
        sender.stop();
        self.recv_eof(now)
    }

    fn stop_sending(&mut self, sender: &mut Sender, now: Instant) {
        sender.stop();
        self.closing(now, None);
    }

    fn shut_down(&mut self, now: Instant) {
        self.shut_down(now);
    }

    fn observe(&mut self, now: Instant) {
        self.observe(now);
    }

    fn pause(&mut self, now: Instant) {
        self.pause(now);
    }

    fn can_recv(&self) -> bool {
        self.is_open()
    }

    fn can_send(&self, sender: &Sender) -> bool {
        sender.is_open()
    }

    fn remaining(&self) -> u64 {
        self.remaining()
    }

    fn config(&self) -> &Config {
        self.config()
    }

    fn is_live_beside(sender: &Sender) -> bool {
        deflate::sender_is_live(sender)
    }

    /// Parks that compressor if it was not used of late.
    fn park_beside(sender: &mut Sender) -> bool {
        deflate::park_sender(sender)
    }

    fn linger_room(&self) -> Option<usize> {
        self.linger_room()
    }

    fn awaits_pong_since(&self) -> Option<Instant> {
        self.awaits_pong_since()
    }
}
