//! The opening handshake, both roles (RFC 6455, section 4): bytes and time in, a request or a response and bytes out.
//!
//! Nothing is allocated and no input is stored: the caller shows all that came since the connection began, and shows it
//! again with more behind it. The walk over a head is saved between calls, so that each byte is looked at once however
//! it arrives; a [`Request`] or a [`Response`] is a view that walks the fields again when asked for them.
//!
//! | file | rules |
//! |---|---|
//! | `request_line`, `status_line`, `head` | the grammar of lines, and the limits, at the byte that decides |
//! | `request`, `rules` | what the fields of a request say, and what a server must refuse |
//! | `server`, `answer` | deadlines, lingering, `101` and refusals |
//! | `client`, `response`, `body` | the request that is sent, what a client must refuse, and what a refusal says |
//! | `target`, `authority`, `origin`, `uri` | addresses |
//! | `tokens`, `extensions`, `framing`, `grammar` | lists, extension offers, message bodies, character classes |
//!
//! The head is walked by our own code: the strict rows need an answer at the deciding byte, and a cursor that survives any
//! split, and a general parser behind that would do the same work twice. A desktop browser's request of 573 bytes, read,
//! checked and answered, costs about 1.3 times what httparse (with its AVX2), `sha1_smol` and base64 cost alone, which check
//! nothing (`benches/README.md` has the figure).
//! A third of that sum was the hash: the `sha1` crate, which finds the processor's own instructions at run time, took 0.15
//! of the whole away. It brings more crates than `sha1_smol` did; they build for bare metal without an allocator, too.
//! The tests hold the walk against httparse: whatever is taken here reads the same there.

mod accept_key;
mod answer;
mod authority;
mod body;
mod client;
mod error;
mod extensions;
mod fields;
mod framing;
mod grammar;
mod head;
mod origin;
mod out;
mod request;
mod request_line;
mod response;
mod rules;
mod server;
mod status_line;
mod target;
mod tokens;
mod uri;

pub use accept_key::accept_key;
pub use answer::Accept;
pub use authority::Authority;
pub use body::BodyReader;
pub use client::{ClientHandshake, ClientRequest};
pub use error::{AnswerError, HandshakeError, HeadFault, Rejection, RequestError, UriError};
pub use extensions::{Extension, Extensions, ParamValue, Params};
pub use fields::Fields;
pub use framing::Body;
pub use origin::same_host;
pub use request::Request;
pub use response::Response;
pub use server::ServerHandshake;
pub use tokens::Tokens;
pub use uri::Uri;

/// Maximum number of bytes that may wait behind a request's head before it is answered: an adapter reads no further.
pub const MAX_EARLY_BYTES: usize = 16 << 10;

/// Maximum number of bytes that are read and thrown away after a refusal.
pub const LINGER_BYTES: usize = 64 << 10;

/// Maximum number of subprotocols in an offer.
pub const MAX_PROTOCOLS: usize = 64;

/// Maximum number of interim responses (1xx) that a client skips.
pub const MAX_INTERIM: usize = 8;

/// Maximum number of bytes of a refusal's body that an adapter reads.
pub const MAX_BODY: usize = 64 << 10;

const ACCEPT: &str = "Sec-WebSocket-Accept";
const EXTENSIONS: &str = "Sec-WebSocket-Extensions";
const PROTOCOL: &str = "Sec-WebSocket-Protocol";
