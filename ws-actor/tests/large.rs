//! Large messages, and what they cost: counted by the allocator. A single test, since it counts all that the process
//! allocates.

#[path = "../../ws-core/tests/counting/mod.rs"]
mod counting;
mod support;

use bytes::Bytes;
use counting::process;
use support::{Client, LONG, listen, soon};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use ws_actor::{Context, Hub, Inbound, Limits, Message, Part, Route, Server, WsActor};
use ws_core::frame::Opcode;

const MIB: usize = 1 << 20;
const LEN: usize = 64 * MIB;

/// The byte at this position of the message.
fn byte(at: usize) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16)) as u8
}

/// Checks what it is given and reports how much that was.
struct Check {
    at: usize,
    parts: usize,
    largest: usize,
    done: mpsc::UnboundedSender<(usize, usize, usize)>,
}

impl WsActor for Check {
    type Cast = ();

    async fn message(&mut self, _: &mut Context<Self>, inbound: Inbound) {
        let Message::Binary(bytes) = inbound.message else { panic!("binary was sent") };
        assert_eq!(inbound.part.is_first(), self.at == 0);
        self.parts += 1;
        self.largest = self.largest.max(bytes.len());
        // Slices share the payload, as those that would go to others.
        let slices: Vec<Bytes> =
            (0..bytes.len()).step_by(MIB).map(|at| bytes.slice(at..bytes.len().min(at + MIB))).collect();
        for slice in slices {
            assert!(slice.iter().enumerate().all(|(n, one)| *one == byte(self.at + n)));
            self.at += slice.len();
        }
        if matches!(inbound.part, Part::Whole | Part::Last) {
            let _ = self.done.send((self.at, self.parts, self.largest));
            (self.at, self.parts, self.largest) = (0, 0, 0);
        }
    }
}

/// B16: 64 MiB arrive byte for byte. Whole, with the bytes of at most two buffers and no copies except those of growing;
/// in parts, in what an actor's mailbox holds (8 MiB) and a buffer, however long the message is.
#[tokio::test]
async fn large_binary() {
    let hub = Hub::new();
    let (done, mut sums) = mpsc::unbounded_channel();
    let target =
        hub.spawn("check", move || Check { at: 0, parts: 0, largest: 0, done: done.clone() }).unwrap();
    let mut limits = Limits::new();
    limits.max_message = Some(LEN as u64);
    let server = Server::new(&hub)
        .limits(limits)
        .route(Route::ws("/whole").target(&target))
        .route(Route::ws("/parts").target(&target).in_parts());
    let addr = listen(server).await;
    // Made before anything is counted, and written as one frame in small pieces that the client reuses.
    let key = [0x1B, 0x2C, 0x3D, 0x4E];
    let header = ws_core::frame::Header {
        fin: true,
        rsv: 0,
        opcode: Opcode::Binary,
        mask: Some(key),
        len: LEN as u64,
    };
    let mut head = [0; ws_core::frame::MAX_HEADER];
    let head_len = header.encode(&mut head);
    for (path, most_peak, most_total) in [("/whole", 3 * LEN, 4 * LEN), ("/parts", 9 * MIB, 2 * LEN)] {
        let mut client = Client::open(addr, path).await;
        let mut piece = vec![0; MIB / 4];
        let (live, total) = (process::restart_peak(), process::total());
        client.write(&head[..head_len]).await;
        let send = async {
            for start in (0..LEN).step_by(piece.len()) {
                for (n, out) in piece.iter_mut().enumerate() {
                    *out = byte(start + n) ^ key[(start + n) % 4];
                }
                client.io.write_all(&piece).await.unwrap();
            }
        };
        tokio::time::timeout(3 * LONG, send).await.unwrap();
        let (len, parts, largest) = soon(sums.recv()).await.unwrap();
        assert_eq!(len, LEN);
        let peak = process::peak() - live;
        let total = process::total() - total;
        assert!(peak <= most_peak && total <= most_total, "{path}: {peak} at once, {total} in all");
        if path == "/whole" {
            assert_eq!(parts, 1);
        } else {
            assert!(parts >= LEN / (64 << 10) && largest <= 64 << 10, "{parts} of at most {largest}");
        }
    }
}
