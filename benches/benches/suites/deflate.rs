//! Benchmarks permessage-deflate (RFC 7692): JSON messages compressed, each without context or with that of earlier ones,
//! and inflated again.
//!
//! All inflate and compress with zlib-rs, except ws-core's own compressors. Levels of different compressors are different
//! trade-offs: the size of a compressed message is printed below the table.

use ws_benches::micro::{self, Entrant};
use ws_benches::tape::Tape;
use ws_benches::workload::Kind;
use ws_core::deflate::{Deflater, Inflater, Pool, WindowBits};
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush};

const BITS: u8 = 15;
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// Compresses or inflates one message into a buffer; `false` when it cannot.
type Step = Box<dyn FnMut(&[u8], &mut Vec<u8>) -> bool>;

#[derive(Clone, Copy)]
struct Setting {
    size: usize,
    level: u8,
    takeover: bool,
}

impl Setting {
    fn name(self) -> String {
        let context = if self.takeover { "takeover" } else { "fresh" };
        format!("{} KiB, {context}, level {}", self.size >> 10, self.level)
    }

    fn messages(self) -> Vec<Vec<u8>> {
        let tape = Tape::new(Kind::Json, self.size, 16, false);
        (0..tape.messages()).map(|at| tape.payload(at).to_vec()).collect()
    }
}

fn settings() -> Vec<Setting> {
    let mut settings = Vec::new();
    for size in [1 << 10, 16 << 10] {
        for takeover in [false, true] {
            settings.extend([1, 6].map(|level| Setting { size, level, takeover }));
        }
    }
    settings
}

type Make = fn(Setting) -> Step;

fn compressors() -> Vec<(&'static str, Make)> {
    #[allow(unused_mut, reason = "peers come with a feature")]
    let mut all: Vec<(&'static str, Make)> =
        vec![("reference: zlib-rs", reference), ("ws-core Deflater", ours)];
    #[cfg(feature = "peers")]
    all.extend(peers::compressors());
    all
}

pub(crate) fn cases() -> Vec<micro::Case<'static>> {
    let compress = settings().into_iter().map(|setting| {
        let messages = setting.messages();
        case(
            setting.name(),
            setting.size,
            &messages,
            compressors().into_iter().map(|(name, make)| {
                check(name, setting, &messages, make);
                (name, make(setting))
            }),
        )
    });
    let inflate = [1 << 10, 16 << 10].into_iter().flat_map(|size| {
        [false, true].map(|takeover| {
            let setting = Setting { size, level: 6, takeover };
            let mut deflate = reference(setting);
            let compressed: Vec<Vec<u8>> = setting
                .messages()
                .iter()
                .map(|message| {
                    let mut out = Vec::new();
                    assert!(deflate(message, &mut out));
                    out
                })
                .collect();
            #[allow(unused_mut, reason = "peers come with a feature")]
            let mut inflaters: Vec<(&'static str, Make)> =
                vec![("reference: zlib-rs", inflate_reference), ("ws-core Inflater", inflate_ours)];
            #[cfg(feature = "peers")]
            inflaters.push(("sockudo-ws DeflateContext", peers::inflate_sockudo_ws));
            let name = format!("inflate {}", setting.name());
            // A pass's first message refers to the last of the previous pass, or to nothing: with takeover the streams start
            // afresh.
            let entrants = inflaters.into_iter().map(|(name, make)| (name, make(setting)));
            case(name, size, &compressed, entrants)
        })
    });
    compress.chain(inflate).collect()
}

fn case(
    name: String,
    size: usize,
    messages: &[Vec<u8>],
    entrants: impl Iterator<Item = (&'static str, Step)>,
) -> micro::Case<'static> {
    let entrant = |(name, mut step): (&'static str, Step)| {
        let (messages, mut out) = (messages.to_vec(), Vec::with_capacity(2 * size + 256));
        Entrant::new(name, move || messages.iter().filter(|message| step(message, &mut out)).count() as u64)
    };
    let (count, entrants) = (messages.len(), entrants.map(entrant).collect());
    micro::Case { name, messages: count, size, expected: count as u64, entrants, most: None }
}

/// Checks that a compressor's output inflates to the messages.
fn check(name: &str, setting: Setting, messages: &[Vec<u8>], make: Make) {
    let (mut compress, mut inflate) = (make(setting), inflate_reference(setting));
    let (mut out, mut back) = (Vec::new(), Vec::new());
    for message in messages {
        assert!(compress(message, &mut out) && inflate(&out, &mut back), "{name} fails");
        assert!(back == *message, "{name} compresses something else");
    }
}

/// Bytes of a compressed message, for each compressor and case.
pub(crate) fn sizes() -> String {
    let mut table = "\nBytes of a compressed message\n\n|".to_owned();
    settings().iter().for_each(|setting| table.push_str(&format!(" | {}", setting.name())));
    table.push_str(&format!(" |\n|---|{}\n", "--:|".repeat(settings().len())));
    for (name, make) in compressors() {
        table.push_str(&format!("| {name} |"));
        for setting in settings() {
            let (mut compress, mut out, mut sum) = (make(setting), Vec::new(), 0);
            let messages = setting.messages();
            for message in &messages {
                compress(message, &mut out);
                sum += out.len();
            }
            table.push_str(&format!(" {} |", sum / messages.len()));
        }
        table.push('\n');
    }
    table
}

fn reference(Setting { level, takeover, .. }: Setting) -> Step {
    let mut deflate = Deflate::new_with_config(DeflateConfig {
        level: i32::from(level),
        window_bits: -i32::from(BITS),
        ..DeflateConfig::default()
    });
    Box::new(move |message, out| {
        if !takeover {
            deflate.reset();
        }
        let before = deflate.total_out();
        out.resize(message.len() + message.len() / 64 + 64, 0);
        let result = deflate.compress(message, out, DeflateFlush::SyncFlush);
        out.truncate((deflate.total_out() - before) as usize - TAIL.len());
        result.is_ok()
    })
}

fn inflate_reference(Setting { size, takeover, .. }: Setting) -> Step {
    let (mut inflate, mut whole) = (Inflate::new(false, BITS), Vec::new());
    Box::new(move |payload, out| {
        if !takeover {
            inflate.reset(false);
        }
        let before = inflate.total_out();
        whole.clear();
        whole.extend_from_slice(payload);
        whole.extend_from_slice(&TAIL);
        out.resize(size + 64, 0);
        let result = inflate.decompress(&whole, out, InflateFlush::SyncFlush);
        out.truncate((inflate.total_out() - before) as usize);
        result.is_ok() && out.len() == size
    })
}

fn window() -> WindowBits {
    WindowBits::new(BITS).unwrap_or(WindowBits::MAX)
}

fn ours(Setting { level, takeover, .. }: Setting) -> Step {
    let mut deflater = Deflater::new(window(), takeover, level, Pool::shared());
    Box::new(move |message, out| {
        out.resize(deflater.bound(message.len()), 0);
        let len = deflater.deflate(message, true, out).unwrap_or(0);
        out.truncate(len);
        len > 0
    })
}

fn inflate_ours(Setting { size, takeover, .. }: Setting) -> Step {
    let mut inflater = Inflater::new(window(), takeover, Pool::shared());
    Box::new(move |payload, out| {
        out.resize(size + 64, 0);
        let Ok(step) = inflater.inflate(payload, out) else { return false };
        let Ok(end) = inflater.finish(&mut out[step.written..]) else { return false };
        out.truncate(step.written + end.written);
        end.done && out.len() == size
    })
}

#[cfg(feature = "peers")]
mod peers {
    use flate2::{Compress, FlushCompress};
    use sockudo_ws::deflate::{DeflateConfig, DeflateContext};

    use super::{BITS, Make, Setting, Step, TAIL};

    pub(super) fn compressors() -> [(&'static str, Make); 2] {
        [("flate2, as yawc has it", flate2), ("sockudo-ws DeflateContext", sockudo_ws)]
    }

    fn flate2(Setting { level, takeover, .. }: Setting) -> Step {
        let mut compress =
            Compress::new_with_window_bits(flate2::Compression::new(u32::from(level)), false, BITS);
        Box::new(move |message, out| {
            if !takeover {
                compress.reset();
            }
            out.clear();
            out.reserve(message.len() + message.len() / 64 + 64);
            let result = compress.compress_vec(message, out, FlushCompress::Sync);
            out.truncate(out.len() - TAIL.len());
            result.is_ok()
        })
    }

    fn context(Setting { level, takeover, .. }: Setting) -> DeflateContext {
        DeflateContext::server(DeflateConfig {
            compression_level: u32::from(level),
            compression_threshold: 0,
            server_no_context_takeover: !takeover,
            client_no_context_takeover: !takeover,
            ..DeflateConfig::best_compression()
        })
    }

    fn sockudo_ws(setting: Setting) -> Step {
        let mut context = context(setting);
        Box::new(move |message, out| {
            let Ok(Some(payload)) = context.compress(message) else { return false };
            out.clear();
            out.extend_from_slice(&payload);
            true
        })
    }

    pub(super) fn inflate_sockudo_ws(setting: Setting) -> Step {
        let mut context = context(setting);
        Box::new(move |payload, out| {
            let Ok(message) = context.decompress(payload, setting.size + 64) else { return false };
            out.clear();
            out.extend_from_slice(&message);
            out.len() == setting.size
        })
    }
}
