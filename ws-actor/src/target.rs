//! What takes a connection: a [`Target`] is a handle on a running actor, whatever its type, and has a name; a [`Pool`]
//! deals connections to several.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::hub::Hub;
use crate::mailbox::{CastRefused, Down, Mailbox};
use crate::monitor::News;
use crate::sync::lock;

/// A handle on a running actor, for giving it work. A clone is another handle on the same.
///
/// The handle does not keep the actor alive, and is harmless when the actor has ended.
#[derive(Clone)]
pub struct Target {
    inner: Arc<Inner>,
}

struct Inner {
    name: Arc<str>,
    mailbox: Arc<Mailbox>,
    cast_type: TypeId,
    news: News,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("name", &self.inner.name).finish_non_exhaustive()
    }
}

impl Target {
    pub(crate) fn new(name: Arc<str>, mailbox: Arc<Mailbox>, cast_type: TypeId) -> Self {
        Self { inner: Arc::new(Inner { name, mailbox, cast_type, news: News::default() }) }
    }

    /// The name that the actor was spawned under.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Whether the actor still takes connections.
    pub fn is_open(&self) -> bool {
        self.inner.mailbox.is_open()
    }

    /// Puts a message of the program's own into the actor's mailbox; it never waits. It comes in order with the events of
    /// connections. While connections wait for room, casts get every second place at most.
    ///
    /// # Errors
    /// [`CastError`] tells the cases.
    pub fn cast<C: Send + 'static>(&self, message: C) -> Result<(), CastError> {
        if TypeId::of::<C>() != self.inner.cast_type {
            return Err(CastError::WrongType);
        }
        let message: Box<dyn Any + Send> = Box::new(message);
        self.inner.mailbox.cast(message).map_err(|refused| match refused {
            CastRefused::Full => CastError::Full,
            CastRefused::Down => CastError::Down,
        })
    }

    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.inner.mailbox
    }

    pub(crate) fn cast_type(&self) -> TypeId {
        self.inner.cast_type
    }

    pub(crate) fn news(&self) -> &News {
        &self.inner.news
    }

    pub(crate) fn shared_name(&self) -> &Arc<str> {
        &self.inner.name
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

/// Why a [`Target::cast`] was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CastError {
    /// The actor's mailbox is full.
    Full,
    /// The actor ends or has ended.
    Down,
    /// The actor takes casts of another type ([`WsActor::Cast`](crate::WsActor::Cast)).
    WrongType,
}

impl fmt::Display for CastError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the actor's mailbox is full",
            Self::Down => "the actor has ended",
            Self::WrongType => "the actor takes casts of another type",
        })
    }
}

impl std::error::Error for CastError {}

/// Actors that share the connections of a route, or of a decision: each gets the next, in turn. A connection stays
/// with the actor that it was dealt to. A clone deals from the same place.
///
/// Members are given as [`Target`]s or by name. A name stands for the actor that has it when a connection is dealt; members
/// that do not run are passed over, and so are those whose mailbox holds four times what it should.
#[derive(Clone, Default)]
pub struct Pool {
    inner: Arc<Members>,
}

#[derive(Default)]
struct Members {
    members: Vec<Member>,
    dealt: AtomicUsize,
}

#[derive(Clone)]
enum Member {
    Actor(Target),
    Name(Arc<str>),
}

impl Pool {
    /// A pool of these, in this order. A pool among them adds its members.
    pub fn new(members: impl IntoIterator<Item = impl Into<Self>>) -> Self {
        Self::of(members.into_iter().flat_map(|member| member.into().inner.members.clone()).collect())
    }

    fn of(members: Vec<Member>) -> Self {
        Self { inner: Arc::new(Members { members, dealt: AtomicUsize::new(0) }) }
    }

    /// The same with more members, dealing from the first.
    pub(crate) fn with(&self, more: &Self) -> Self {
        Self::new([self.clone(), more.clone()])
    }

    /// Whether one of the members runs.
    pub(crate) fn runs(&self, names: &Names) -> bool {
        self.inner.members.iter().filter_map(|member| member.target(names)).any(|target| target.is_open())
    }

    /// Whether members are named that may run later.
    pub(crate) fn has_names(&self) -> bool {
        self.inner.members.iter().any(|member| matches!(member, Member::Name(_)))
    }

    /// Deals a connection: to the next of the members that run, or, if that one has ended before it could `take` the
    /// connection, to the one behind it.
    pub(crate) fn deal<T>(
        &self,
        names: &Names,
        take: impl FnMut(Target) -> Result<T, Down>,
    ) -> Result<T, Down> {
        let mut open: Vec<_> = self.inner.members.iter().filter_map(|member| member.target(names)).collect();
        open.retain(Target::is_open);
        if open.is_empty() {
            return Err(Down);
        }
        let first = self.inner.dealt.fetch_add(1, Ordering::Relaxed) % open.len();
        open.rotate_left(first);
        open.into_iter().map(take).find_map(Result::ok).ok_or(Down)
    }
}

impl Member {
    fn target(&self, names: &Names) -> Option<Target> {
        match self {
            Self::Actor(target) => Some(target.clone()),
            Self::Name(name) => lock(&names.0).get(name).cloned(),
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.inner.members.iter().map(|member| match member {
            Member::Actor(target) => target.name(),
            Member::Name(name) => name,
        });
        f.debug_list().entries(names).finish()
    }
}

impl From<Target> for Pool {
    fn from(target: Target) -> Self {
        Self::of(vec![Member::Actor(target)])
    }
}

impl From<&Target> for Pool {
    fn from(target: &Target) -> Self {
        target.clone().into()
    }
}

/// The actor that runs under this name when a connection is dealt.
impl From<&str> for Pool {
    fn from(name: &str) -> Self {
        Self::of(vec![Member::Name(name.into())])
    }
}

impl From<String> for Pool {
    fn from(name: String) -> Self {
        name.as_str().into()
    }
}

/// The names of the actors that run.
#[derive(Default)]
pub(crate) struct Names(Mutex<HashMap<Arc<str>, Target>>);

impl Names {
    /// Enters a target under its name; `false` when the name is taken.
    pub(crate) fn enter(&self, target: &Target) -> bool {
        let mut names = lock(&self.0);
        if names.contains_key(&target.inner.name) {
            return false;
        }
        names.insert(Arc::clone(&target.inner.name), target.clone());
        true
    }

    /// Every actor that runs.
    pub(crate) fn all(&self) -> Vec<Target> {
        lock(&self.0).values().cloned().collect()
    }

    /// Frees the name, unless another actor has it by now.
    pub(crate) fn free(&self, target: &Target) {
        let mut names = lock(&self.0);
        if names.get(&target.inner.name).is_some_and(|other| other.is(target)) {
            names.remove(&target.inner.name);
        }
    }
}

impl Hub {
    /// The actor that runs under this name.
    pub fn lookup(&self, name: &str) -> Option<Target> {
        lock(&self.shared.names.0).get(name).cloned()
    }
}
