//! The actors of the soak, and a check of what they were told against the contract.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ws_actor::{ConnId, Connect, Context, Disconnect, Inbound, Message, Reason, WsActor};

use super::ROOMS;

/// `SplitMix64`: the same run for the same seed, as far as the scheduler allows.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// What the actors were told, checked against the contract.
#[derive(Default)]
pub(super) struct Book {
    pub(super) lives: Mutex<HashMap<ConnId, Life>>,
    pub(super) faults: Mutex<Vec<String>>,
    /// The names of actors that have handled all that was in their mailboxes when they were asked.
    pub(super) idle: Mutex<HashSet<String>>,
    incarnations: AtomicU64,
    pub(super) connects: AtomicUsize,
    pub(super) disconnects: AtomicUsize,
    /// Connections that an actor took with it when it panicked.
    pub(super) forgotten: AtomicUsize,
    pub(super) moves: AtomicUsize,
    pub(super) messages: AtomicUsize,
    pub(super) panics: AtomicUsize,
    pub(super) stops: AtomicUsize,
}

/// What a connection's actors have been told of it.
#[derive(Default)]
pub(super) struct Life {
    /// The actor that has it.
    pub(super) has: Option<u64>,
    pub(super) is_brittle: bool,
    next: u32,
    pub(super) is_over: bool,
}

impl Book {
    fn fault(&self, what: impl Into<String>) {
        self.faults.lock().unwrap().push(what.into());
    }

    /// Records an event of a connection; reports what is wrong with it.
    fn note(&self, id: ConnId, event: &str, change: impl FnOnce(&mut Life) -> Result<(), &'static str>) {
        let mut lives = self.lives.lock().unwrap();
        let life = lives.entry(id).or_default();
        let checked = if life.is_over { Err("it has ended for good") } else { change(life) };
        if let Err(wrong) = checked {
            let Life { has, is_brittle, next, .. } = life;
            let faults = format!("{event} of {id}: {wrong} (has {has:?}, brittle {is_brittle}, next {next})");
            drop(lives);
            self.fault(faults);
        }
    }
}

/// An actor. Dropped, it has been told of the ends of all its connections, unless it panicked.
pub(super) struct Hand {
    book: Arc<Book>,
    number: u64,
    is_brittle: bool,
    has_panicked: bool,
    met: usize,
}

impl Hand {
    pub(super) fn new(book: &Arc<Book>, is_brittle: bool) -> Self {
        let number = book.incarnations.fetch_add(1, Ordering::Relaxed) + 1;
        Self { book: Arc::clone(book), number, is_brittle, has_panicked: false, met: 0 }
    }
}

impl WsActor for Hand {
    /// A name to record when everything before it is done.
    type Cast = String;

    async fn cast(&mut self, _: &mut Context<Self>, name: String) {
        self.book.idle.lock().unwrap().insert(name);
    }

    async fn connect(&mut self, cx: &mut Context<Self>, connect: Connect) {
        let (id, number, is_brittle) = (connect.id, self.number, self.is_brittle);
        self.book.connects.fetch_add(1, Ordering::Relaxed);
        self.met += 1;
        self.book.note(id, "Connect", |life| {
            life.is_brittle |= is_brittle;
            match life.has.replace(number) {
                None => Ok(()),
                Some(_) => Err("another actor has it"),
            }
        });
        let mut dice = Dice(id.seq());
        for _ in 0..dice.below(3) {
            let _ = cx.room(room(&mut dice)).join(id);
        }
        let _ = cx.send(id, id.to_string());
    }

    async fn message(&mut self, cx: &mut Context<Self>, Inbound { id, message, .. }: Inbound) {
        let number = self.number;
        match message {
            Message::Binary(bytes) => {
                let said = bytes.first_chunk().map_or(u32::MAX, |bytes| u32::from_be_bytes(*bytes));
                self.book.messages.fetch_add(1, Ordering::Relaxed);
                self.book.note(id, "Message", |life| {
                    let is_next = said == life.next || life.is_brittle && said > life.next;
                    life.next = said + 1;
                    match life.has {
                        Some(has) if has == number && is_next => Ok(()),
                        Some(has) if has == number => Err("not the next message"),
                        _ => Err("this actor does not have it"),
                    }
                });
                let mut dice = Dice(id.seq() ^ u64::from(said) << 32);
                match dice.below(8) {
                    0 => drop(cx.room(room(&mut dice)).join(id)),
                    1 => drop(cx.room(room(&mut dice)).leave(id)),
                    2 => drop(cx.room(room(&mut dice)).broadcast(bytes)),
                    3 => drop(cx.send(id, bytes)),
                    4 => tokio::task::yield_now().await,
                    _ => {}
                }
            }
            message if self.is_brittle => match message.as_text() {
                Some("panic") => {
                    self.book.panics.fetch_add(1, Ordering::Relaxed);
                    self.has_panicked = true;
                    // As a panic, but nothing is printed.
                    std::panic::resume_unwind(Box::new("as the client asked"));
                }
                Some("stop") => {
                    self.book.stops.fetch_add(1, Ordering::Relaxed);
                    cx.stop();
                }
                _ => {}
            },
            _ => {}
        }
    }

    async fn disconnect(&mut self, _: &mut Context<Self>, gone: Disconnect) {
        let number = self.number;
        self.book.disconnects.fetch_add(1, Ordering::Relaxed);
        self.met = self.met.saturating_sub(1);
        let has_moved = gone.reason == Reason::Moved;
        if has_moved {
            self.book.moves.fetch_add(1, Ordering::Relaxed);
        }
        self.book.note(gone.id, "Disconnect", |life| {
            life.is_over = !has_moved;
            match life.has.take() {
                Some(has) if has == number => Ok(()),
                _ => Err("this actor does not have it"),
            }
        });
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        if !self.has_panicked {
            if self.met > 0 {
                self.book.fault(format!("actor {} was not told of {} ends", self.number, self.met));
            }
            return;
        }
        self.book.forgotten.fetch_add(self.met, Ordering::Relaxed);
        for life in self.book.lives.lock().unwrap().values_mut() {
            if life.has == Some(self.number) {
                life.has = None;
            }
        }
    }
}

fn room(dice: &mut Dice) -> String {
    format!("room {}", dice.below(ROOMS))
}
