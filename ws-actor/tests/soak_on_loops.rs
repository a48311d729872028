//! The soak once more, with the connections on loops of ws-mio. It counts the descriptors of its process, and so has one.

#[path = "soak/main.rs"]
mod soak;
