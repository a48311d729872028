//! permessage-deflate (RFC 7692): negotiation, and both directions of the payload.

mod agreement;
mod deflater;
mod inflater;
mod inflow;
mod line;
mod outflow;
mod pool;
mod settings;
mod window;

pub use agreement::Agreement;
pub use deflater::{Deflater, NoRoom};
pub use inflater::{Finished, Inflated, Inflater, InvalidDeflate};
pub use line::Line;
pub use outflow::Compress;
pub use pool::{Pool, PoolLimits};
pub use settings::{Settings, WindowBits};

pub(crate) use inflow::{Inflow, Run};
pub(crate) use outflow::Outflow;
