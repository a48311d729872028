//! A server as data: where it listens, which actors run, which paths lead to them. What cannot be data, the code of
//! actors and decisions, is named in it and found in a [`Catalog`].

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;

use crate::actor::{SpawnError, WsActor};
use crate::decision::{Deciding, Decision, Relay};
use crate::hub::Hub;
use crate::limits::Limits;
use crate::listen::Listening;
use crate::meta::Meta;
use crate::route::{Origins, Route};
use crate::server::{Server, Settings};
use crate::supervise::ActorOptions;
use crate::target::Target;
use crate::upgrade::Upgrade;

/// A server, its actors and its routes.
///
/// ```no_run
/// use ws_actor::{Catalog, Context, Hub, Inbound, Manifest, Response, Relay, RouteSpec, Upgrade, Value, WsActor};
///
/// struct Chat {
///     greeting: String,
/// }
/// # impl WsActor for Chat {
/// #     type Cast = ();
/// #     async fn message(&mut self, _: &mut Context<Self>, _: Inbound) { let _ = &self.greeting; }
/// # }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), ws_actor::ManifestError> {
/// let catalog = Catalog::new()
///     .actor("chat", |config: &Value| Chat {
///         greeting: config["greeting"].as_str().unwrap_or("hello").to_owned(),
///     })
///     .auth("token", async |upgrade: Upgrade| match upgrade.header("authorization") {
///         Some(_) => Ok(Relay::new()),
///         None => Err(Response::new(401, "who are you?\n")),
///     });
///
/// let mut route = RouteSpec::new("/ws/chat/:room");
/// route.targets = vec!["lobby".into()];
/// route.auth = Some("token".into());
/// route.limits.max_connections = Some(1_000);
/// let mut manifest = Manifest::new("127.0.0.1:8080").actor("lobby", "chat").route(route);
/// manifest.limits.max_per_ip = Some(20);
///
/// let listening = manifest.start(&Hub::new(), &catalog).await?;
/// listening.stopped().await;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Manifest {
    /// Where it listens: an address, or a name, and a port.
    pub listen: String,
    /// The limits on all connections together.
    pub limits: Limits,
    /// The settings of the server.
    pub settings: Settings,
    /// The actors, started in this order.
    pub actors: Vec<ActorSpec>,
    /// The routes; their paths differ.
    pub routes: Vec<RouteSpec>,
}

/// An actor to run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ActorSpec {
    /// Its name.
    pub name: String,
    /// The kind of actor, as named in the [`Catalog`].
    pub kind: String,
    /// Its configuration: given to the catalogue's closure, each time it is made.
    pub config: Value,
    /// What happens when it fails.
    pub options: ActorOptions,
}

impl ActorSpec {
    /// An actor of this kind, without configuration and with default options.
    pub fn new(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { name: name.into(), kind: kind.into(), config: Value::Null, options: ActorOptions::new() }
    }
}

/// A path, and what follows for connections to it. What the decision of [`RouteSpec::auth`] sets comes first.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RouteSpec {
    /// The path, as in [`Route::ws`].
    pub path: String,
    /// Names of actors that take the connections in turn: of this manifest, or running already.
    pub targets: Vec<String>,
    /// The [`Catalog`]'s decision that is asked about each upgrade.
    pub auth: Option<String>,
    /// How many connections, and what each may do.
    pub limits: Limits,
    /// The topic that messages come under.
    pub topic: String,
    /// What goes with each connection.
    pub meta: Meta,
    /// The interval of each connection's heartbeats.
    pub heartbeat: Option<Duration>,
    /// The subprotocols, most wanted first.
    pub subprotocols: Vec<String>,
    /// Which pages may connect.
    pub origins: Origins,
    /// Sends `{"topic": …, "data": …}` ([`Route::envelope`]).
    pub envelope: bool,
}

impl RouteSpec {
    /// A path without targets, and defaults for the rest.
    pub fn new(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            targets: Vec::new(),
            auth: None,
            limits: Limits::new(),
            topic: String::new(),
            meta: Meta::new(),
            heartbeat: None,
            subprotocols: Vec::new(),
            origins: Origins::SameHost,
            envelope: false,
        }
    }

    /// The relay for what the decision does not set.
    fn terms(&self) -> Relay {
        let relay = Relay::new().topic(&*self.topic).meta(self.meta.clone());
        match self.heartbeat {
            Some(every) => relay.heartbeat(every),
            None => relay,
        }
    }

    fn route(&self, auth: Option<Auth>) -> Route {
        let mut route = Route::ws(&*self.path)
            .pool(self.targets.iter().map(String::as_str))
            .limits(self.limits)
            .origins(self.origins.clone())
            .subprotocols(self.subprotocols.iter().map(String::as_str));
        if self.envelope {
            route = route.envelope();
        }
        let terms = self.terms();
        route.decide(move |upgrade| {
            let (asked, terms) = (auth.as_ref().map(|auth| auth(upgrade)), terms.clone());
            async move {
                match asked {
                    None => Decision::Accept(terms),
                    Some(asked) => match asked.await {
                        Decision::Accept(relay) => Decision::Accept(relay.over(terms)),
                        reject @ Decision::Reject(_) => reject,
                    },
                }
            }
        })
    }
}

type Auth = Arc<dyn Fn(Upgrade) -> Deciding + Send + Sync>;
type Start = Box<dyn Fn(&Hub, &ActorSpec) -> Result<Target, SpawnError> + Send + Sync>;

/// The code that a [`Manifest`] names: kinds of actors, and decisions.
#[derive(Default)]
pub struct Catalog {
    actors: HashMap<String, Start>,
    auths: HashMap<String, Auth>,
}

impl Catalog {
    /// An empty catalogue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a kind of actor. `make` makes one from its configuration; on its task, and again when it is restarted. Of two
    /// of one name, the later counts.
    #[must_use]
    pub fn actor<A: WsActor>(
        mut self,
        kind: impl Into<String>,
        make: impl Fn(&Value) -> A + Send + Sync + 'static,
    ) -> Self {
        let make = Arc::new(make);
        let start = move |hub: &Hub, spec: &ActorSpec| {
            let (make, config) = (Arc::clone(&make), spec.config.clone());
            hub.spawn_with(&spec.name, spec.options.clone(), move || make(&config))
        };
        self.actors.insert(kind.into(), Box::new(start));
        self
    }

    /// Adds a decision ([`Route::decide`]). Of two of one name, the later counts.
    #[must_use]
    pub fn auth<F, R>(mut self, name: impl Into<String>, decide: F) -> Self
    where
        F: Fn(Upgrade) -> R + Send + Sync + 'static,
        R: Future<Output: Into<Decision>> + Send + 'static,
    {
        let decide = move |upgrade| -> Deciding {
            let decision = decide(upgrade);
            Box::pin(async move { decision.await.into() })
        };
        self.auths.insert(name.into(), Arc::new(decide));
        self
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog")
            .field("actors", &self.actors.keys())
            .field("auths", &self.auths.keys())
            .finish()
    }
}

/// Why a manifest was not started. Nothing of it runs.
#[derive(Debug)]
#[non_exhaustive]
pub enum ManifestError {
    /// The address cannot be listened on.
    Listen(io::Error),
    /// The catalogue has no such kind of actor.
    UnknownKind {
        /// The actor's name.
        actor: String,
        /// Its kind.
        kind: String,
    },
    /// The catalogue has no such decision.
    UnknownAuth {
        /// The route's path.
        path: String,
        /// The decision's name.
        auth: String,
    },
    /// A route names an actor that neither the manifest has nor runs already.
    UnknownTarget {
        /// The route's path.
        path: String,
        /// The actor's name.
        target: String,
    },
    /// A route has neither targets nor a decision that could name one.
    NoTarget {
        /// The route's path.
        path: String,
    },
    /// Two routes have this path.
    SamePath(String),
    /// An actor was not started.
    Spawn {
        /// The actor's name.
        actor: String,
        /// The reason.
        error: SpawnError,
    },
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(error) => write!(f, "the address cannot be listened on: {error}"),
            Self::UnknownKind { actor, kind } => write!(f, "actor {actor:?}: there is no kind {kind:?}"),
            Self::UnknownAuth { path, auth } => write!(f, "route {path:?}: there is no decision {auth:?}"),
            Self::UnknownTarget { path, target } => write!(f, "route {path:?}: there is no actor {target:?}"),
            Self::NoTarget { path } => write!(f, "route {path:?} leads nowhere"),
            Self::SamePath(path) => write!(f, "there are two routes {path:?}"),
            Self::Spawn { actor, error } => write!(f, "actor {actor:?}: {error}"),
        }
    }
}

impl std::error::Error for ManifestError {}

impl Manifest {
    /// A manifest without actors and routes.
    pub fn new(listen: impl Into<String>) -> Self {
        Self {
            listen: listen.into(),
            limits: Limits::new(),
            settings: Settings::new(),
            actors: Vec::new(),
            routes: Vec::new(),
        }
    }

    /// Adds an actor of this kind.
    #[must_use]
    pub fn actor(mut self, name: impl Into<String>, kind: impl Into<String>) -> Self {
        self.actors.push(ActorSpec::new(name, kind));
        self
    }

    /// Adds a route.
    #[must_use]
    pub fn route(mut self, route: RouteSpec) -> Self {
        self.routes.push(route);
        self
    }

    /// Starts the actors and the server.
    ///
    /// # Errors
    /// [`ManifestError`] tells the cases; nothing runs that did not run before.
    ///
    /// # Cancel safety
    /// Cancelled, nothing runs: all waiting comes before the start.
    pub async fn start(&self, hub: &Hub, catalog: &Catalog) -> Result<Listening, ManifestError> {
        self.check(hub, catalog)?;
        let listener = TcpListener::bind(&*self.listen).await.map_err(ManifestError::Listen)?;
        let (server, actors) = self.build(hub, catalog)?;
        server.listen_on(listener).map_err(|error| {
            end(hub, &actors);
            ManifestError::Listen(error)
        })
    }

    /// Starts the actors and returns the server, to add to it or to listen elsewhere.
    ///
    /// # Errors
    /// As for [`Manifest::start`].
    pub fn server(&self, hub: &Hub, catalog: &Catalog) -> Result<Server, ManifestError> {
        self.check(hub, catalog)?;
        self.build(hub, catalog).map(|(server, _)| server)
    }

    /// Whether it can be started, as far as that can be told.
    fn check(&self, hub: &Hub, catalog: &Catalog) -> Result<(), ManifestError> {
        let mut names = HashSet::new();
        for ActorSpec { name, kind, .. } in &self.actors {
            if !catalog.actors.contains_key(kind) {
                return Err(ManifestError::UnknownKind { actor: name.clone(), kind: kind.clone() });
            }
            if !names.insert(name) || hub.lookup(name).is_some() {
                return Err(ManifestError::Spawn { actor: name.clone(), error: SpawnError::NameTaken });
            }
        }
        let mut paths = HashSet::new();
        for RouteSpec { path, targets, auth, .. } in &self.routes {
            let path = || path.clone();
            if !paths.insert(path()) {
                return Err(ManifestError::SamePath(path()));
            }
            if let Some(auth) = auth.as_ref().filter(|auth| !catalog.auths.contains_key(*auth)) {
                return Err(ManifestError::UnknownAuth { path: path(), auth: auth.clone() });
            }
            let is_known = |name: &&String| names.contains(name) || hub.lookup(name).is_some();
            if let Some(target) = targets.iter().find(|name| !is_known(name)) {
                return Err(ManifestError::UnknownTarget { path: path(), target: target.clone() });
            }
            if targets.is_empty() && auth.is_none() {
                return Err(ManifestError::NoTarget { path: path() });
            }
        }
        Ok(())
    }

    fn build(&self, hub: &Hub, catalog: &Catalog) -> Result<(Server, Vec<Target>), ManifestError> {
        let mut actors = Vec::new();
        for spec in &self.actors {
            let Some(start) = catalog.actors.get(&spec.kind) else { continue };
            match start(hub, spec) {
                Ok(target) => actors.push(target),
                // The name was taken since it was looked at, or there is no runtime.
                Err(error) => {
                    end(hub, &actors);
                    return Err(ManifestError::Spawn { actor: spec.name.clone(), error });
                }
            }
        }
        let auth = |spec: &RouteSpec| spec.auth.as_ref().and_then(|auth| catalog.auths.get(auth)).cloned();
        let server = Server::new(hub).settings(self.settings.clone()).limits(self.limits);
        let server = self.routes.iter().fold(server, |server, spec| server.route(spec.route(auth(spec))));
        Ok((server, actors))
    }
}

/// Ends actors that have no connections yet.
fn end(hub: &Hub, actors: &[Target]) {
    for actor in actors {
        hub.shared.names.free(actor);
        actor.mailbox().seal();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Context;
    use crate::event::Inbound;

    struct Idle;

    impl WsActor for Idle {
        type Cast = ();

        async fn message(&mut self, _: &mut Context<Self>, _: Inbound) {}
    }

    /// C11: what was started before something failed is gone, and its name is free at once.
    #[tokio::test]
    async fn what_was_started_ends() {
        let (hub, catalog) = (Hub::new(), Catalog::new().actor("idle", |_| Idle));
        let manifest = Manifest::new("").actor("one", "idle").actor("two", "idle").actor("two", "idle");
        let ran = hub.spawn("before", || Idle).unwrap();
        // As if the name had been taken after the check.
        let error = manifest.build(&hub, &catalog).unwrap_err();
        assert!(matches!(error, ManifestError::Spawn { error: SpawnError::NameTaken, .. }));
        assert!(hub.lookup("one").is_none() && hub.lookup("two").is_none());
        let one = hub.spawn("one", || Idle).unwrap();
        tokio::task::yield_now().await;
        assert!(one.is_open() && ran.is_open() && hub.lookup("one").is_some());
        end(&hub, std::slice::from_ref(&one));
        assert!(tokio::time::timeout(Duration::from_secs(20), one.ended()).await.is_ok());
    }
}
