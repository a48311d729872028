//! One connection's life and its end, as its client plays them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, duplex};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use ws_actor::{CloseFrame, ConnId, Message, Relay};
use ws_core::frame::Opcode;

use super::book::Dice;
use super::support::{LONG, frame, upgrade};
use super::wire::{Wire, head, next, numbered, say};
use super::{POOL, World, name};

/// The ways for a connection to end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    BeforeTheRequest,
    AmidTheHead,
    DuringTheDecision,
    RightAfterThe101,
    BetweenMessages,
    AmidAFrame,
    AmidAFragmentedMessage,
    AfterTheCloseFrame,
    CleanClose,
    HalfClose,
    Violation,
    Reset,
    Deaf,
    HubClose,
    HubCloseAndGone,
    WhileMoving,
    WhileMovingClosed,
    ActorPanic,
    ActorPanicWhileMoving,
    ActorStop,
    ActorStopWhileMoving,
}

pub(super) const ENDS: [End; 21] = [
    End::BeforeTheRequest,
    End::AmidTheHead,
    End::DuringTheDecision,
    End::RightAfterThe101,
    End::BetweenMessages,
    End::AmidAFrame,
    End::AmidAFragmentedMessage,
    End::AfterTheCloseFrame,
    End::CleanClose,
    End::HalfClose,
    End::Violation,
    End::Reset,
    End::Deaf,
    End::HubClose,
    End::HubCloseAndGone,
    End::WhileMoving,
    End::WhileMovingClosed,
    End::ActorPanic,
    End::ActorPanicWhileMoving,
    End::ActorStop,
    End::ActorStopWhileMoving,
];

impl End {
    fn ends_an_actor(self) -> bool {
        use End::{ActorPanic, ActorPanicWhileMoving, ActorStop, ActorStopWhileMoving};
        matches!(self, ActorPanic | ActorPanicWhileMoving | ActorStop | ActorStopWhileMoving)
    }
}

/// One connection's life.
pub(super) async fn live(world: &Arc<World>, seed: u64) {
    let mut dice = Dice(seed);
    dice.next();
    let at = loop {
        let at = dice.below(ENDS.len() as u64) as usize;
        // Fewer of those that others die of.
        if !ENDS[at].ends_an_actor() || dice.below(4) == 0 {
            break at;
        }
    };
    world.ends[at].fetch_add(1, Ordering::Relaxed);
    let end = ENDS[at];
    let is_brittle = end.ends_an_actor() || dice.below(3) == 0;
    let life = Client { world, end, is_brittle };
    // One in eight over a real socket.
    if dice.below(8) == 0 {
        let Ok(io) = TcpStream::connect(world.addr).await else { return };
        if end == End::Reset {
            io.set_zero_linger().expect("an open socket");
        }
        life.run(io, &mut dice, None).await;
    } else {
        let (near, far) = duplex(64 << dice.below(7));
        let task = tokio::spawn(world.server.serve(far, world.addr, world.addr));
        life.run(near, &mut dice, Some(&task.abort_handle())).await;
    }
}

struct Client<'a> {
    world: &'a World,
    end: End,
    is_brittle: bool,
}

/// Longer than anything here takes: a client that waits is about to hang up.
pub(super) const WHILE: Duration = Duration::from_millis(50);

impl Client<'_> {
    /// Lives and ends; dropping `io` is the end of most.
    async fn run<S>(self, io: S, dice: &mut Dice, task: Option<&AbortHandle>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { world, end, is_brittle } = self;
        let mut wire = Wire { io, is_torn: false };
        if end == End::BeforeTheRequest {
            return;
        }
        let path = if is_brittle { "/brittle" } else { "/firm" };
        let query = if end == End::DuringTheDecision { "?wait" } else { "" };
        let mut request = upgrade(world.addr, &format!("{path}{query}"), "").into_bytes();
        if end == End::AmidTheHead {
            request.truncate(1 + dice.below(request.len() as u64 - 1) as usize);
        }
        // Some do not wait for the answer.
        let is_eager = dice.below(4) == 0;
        let mut said = 0;
        if is_eager {
            request.extend(numbered(&mut said, dice.below(4)));
        }
        if !say(&mut wire, &request).await || matches!(end, End::AmidTheHead | End::DuringTheDecision) {
            if end == End::DuringTheDecision && dice.below(2) == 0 {
                tokio::time::sleep(Duration::from_millis(dice.below(4))).await;
            }
            return;
        }
        let mut buffer = Vec::new();
        let status = if end == End::RightAfterThe101 && dice.below(2) == 0 {
            // Not even read.
            return;
        } else {
            head(&mut wire.io, &mut buffer).await
        };
        match status {
            Some(101) => drop(world.opened.fetch_add(1, Ordering::Relaxed)),
            _ => {
                world.refused.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        if end == End::RightAfterThe101 {
            return;
        }
        // The id that its actor tells it.
        let id = loop {
            match next(&mut wire.io, &mut buffer, LONG).await {
                Some((Opcode::Text, text)) => {
                    if let Some(id) = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()) {
                        break id;
                    }
                }
                Some((Opcode::Close, _)) | None => return,
                Some(_) => {}
            }
        };
        for _ in 0..dice.below(4) {
            if !say(&mut wire, &numbered(&mut said, dice.below(6))).await {
                return;
            }
            if dice.below(3) == 0 {
                let _ = next(&mut wire.io, &mut buffer, WHILE).await;
            }
            if dice.below(4) == 0 {
                self.move_it(id, dice);
            }
        }
        self.end(wire, buffer, id, said, dice, task).await;
    }

    fn move_it(&self, id: ConnId, dice: &mut Dice) {
        let to = name(self.is_brittle, dice.below(POOL as u64) as usize);
        // It may have ended, or the actor may not run.
        let _ = self.world.hub.retarget(id, Relay::to(to));
    }

    async fn end<S>(
        &self,
        mut wire: Wire<S>,
        mut buffer: Vec<u8>,
        id: ConnId,
        mut said: u32,
        dice: &mut Dice,
        task: Option<&AbortHandle>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let hub = &self.world.hub;
        let reads_on = match self.end {
            End::AmidAFrame => {
                let whole = numbered(&mut said, 1);
                let part = 1 + dice.below(whole.len() as u64 - 1) as usize;
                say(&mut wire, &whole[..part]).await;
                false
            }
            End::AmidAFragmentedMessage => {
                say(&mut wire, &frame(false, Opcode::Binary, &said.to_be_bytes())).await;
                if dice.below(2) == 0 {
                    say(&mut wire, &frame(true, Opcode::Ping, b"between")).await;
                    say(&mut wire, &frame(false, Opcode::Continuation, b"more")).await;
                }
                false
            }
            End::AfterTheCloseFrame | End::CleanClose => {
                let mut bytes = numbered(&mut said, dice.below(3));
                bytes.extend(frame(true, Opcode::Close, &1000_u16.to_be_bytes()));
                say(&mut wire, &bytes).await && self.end == End::CleanClose
            }
            End::HalfClose => {
                let _ = wire.io.shutdown().await;
                true
            }
            End::Violation => {
                // 5.1: "The server MUST close the connection upon receiving a frame that is not masked."
                say(&mut wire, &[0x82, 0x00]).await
            }
            End::Reset => {
                say(&mut wire, &numbered(&mut said, 3)).await;
                // Of a pair in memory, the server's task is dropped instead.
                if let Some(task) = task {
                    task.abort();
                }
                false
            }
            End::Deaf => {
                // Takes nothing of what the others say, for a while.
                for _ in 0..dice.below(300) {
                    let _ = hub.send(id, Message::binary(vec![0; 512]));
                }
                tokio::time::sleep(Duration::from_millis(dice.below(10))).await;
                false
            }
            End::HubClose | End::HubCloseAndGone => {
                let _ = hub.close(id, CloseFrame::new(1000, "enough"));
                self.end == End::HubClose
            }
            End::WhileMoving | End::WhileMovingClosed => {
                for _ in 0..1 + dice.below(4) {
                    self.move_it(id, dice);
                    if !say(&mut wire, &numbered(&mut said, dice.below(3))).await {
                        break;
                    }
                }
                self.move_it(id, dice);
                if self.end == End::WhileMovingClosed {
                    let _ = hub.close(id, CloseFrame::new(1000, "enough"));
                }
                dice.below(2) == 0 && self.end == End::WhileMovingClosed
            }
            End::ActorPanic | End::ActorStop | End::ActorPanicWhileMoving | End::ActorStopWhileMoving => {
                let is_moving = matches!(self.end, End::ActorPanicWhileMoving | End::ActorStopWhileMoving);
                let panics = matches!(self.end, End::ActorPanic | End::ActorPanicWhileMoving);
                let word: &[u8] = if panics { b"panic" } else { b"stop" };
                let mut bytes = numbered(&mut said, dice.below(3));
                bytes.extend(frame(true, Opcode::Text, word));
                bytes.extend(numbered(&mut said, dice.below(3)));
                say(&mut wire, &bytes).await;
                if is_moving {
                    self.move_it(id, dice);
                }
                dice.below(2) == 0
            }
            // The others have ended before.
            End::BetweenMessages
            | End::BeforeTheRequest
            | End::AmidTheHead
            | End::DuringTheDecision
            | End::RightAfterThe101 => false,
        };
        if reads_on {
            // What is not at its end by then is on its way to another actor, and goes on until it is dropped.
            let _ = timeout(WHILE, async {
                while let Some((opcode, payload)) = next(&mut wire.io, &mut buffer, WHILE).await {
                    if opcode == Opcode::Close {
                        say(&mut wire, &frame(true, Opcode::Close, payload.get(..2).unwrap_or_default()))
                            .await;
                    }
                }
            })
            .await;
        }
    }
}
