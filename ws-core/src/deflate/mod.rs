//! permessage-deflate (RFC 7692): negotiation, and both directions of the payload.

mod agreement;
mod line;
mod pool;
mod settings;

pub use agreement::Agreement;
pub use line::Line;
pub use pool::Pool;
pub use settings::{Settings, WindowBits};
