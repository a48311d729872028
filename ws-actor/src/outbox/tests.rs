use super::*;
use crate::event::Message;
use crate::fixture::{Count, noop, word};
use crate::outgoing::Lane;
use proptest::prelude::*;

fn frame(text: &str) -> Frame {
    match Lane::of(Message::text(text).into()) {
        Ok(Lane::Data(frame, None)) => frame,
        other => panic!("{other:?}"),
    }
}

fn outbox(max_messages: usize, max_bytes: usize, overflow: Overflow) -> Outbox {
    Outbox::new(OutboxLimits { max_messages, max_bytes, overflow }.into())
}

fn push(outbox: &Outbox, text: &str) -> Result<(), Refused> {
    // "price:7" has the key "price".
    let key = text.split_once(':').map(|(key, _)| key.into());
    outbox.push(&frame(text), key.as_ref(), &mut Lost::default()).map(drop)
}

fn drain(outbox: &Outbox) -> Vec<String> {
    let mut words = Vec::new();
    while let Poll::Ready(out) = outbox.poll_take(&noop()) {
        words.push(word(&out));
    }
    words
}

/// B10, B13: what a full outbox does with one message more, for every policy. Four messages fit.
#[test]
fn overflow_policies() {
    use Overflow::{Close, Conflate, DropNew, DropOld};
    let full = Err(Refused::Full);
    type Row = (Overflow, &'static str, Result<(), Refused>, &'static [&'static str]);
    let table: &[Row] = &[
        (Close, "e", full, &["close 1013"]),
        (DropNew, "e", full, &["a", "x:1", "c", "y:1"]),
        (DropOld, "e", Ok(()), &["x:1", "c", "y:1", "e"]),
        (Conflate, "x:2", Ok(()), &["a", "x:2", "c", "y:1"]),
        (Conflate, "z:1", full, &["a", "x:1", "c", "y:1"]),
        (Conflate, "e", full, &["a", "x:1", "c", "y:1"]),
    ];
    for &(overflow, more, result, left) in table {
        let outbox = outbox(4, 1 << 10, overflow);
        for text in ["a", "x:1", "c", "y:1"] {
            assert_eq!(push(&outbox, text), Ok(()));
        }
        assert_eq!(push(&outbox, more), result, "{overflow:?} {more}");
        assert_eq!(drain(&outbox), left, "{overflow:?} {more}");
        assert_eq!(outbox.load().2, if overflow == Close { 5 } else { 1 }, "{overflow:?} {more}");
    }
}

/// B13: the latest of each key, and every key in its turn, however often all are renewed and however seldom one is
/// taken; neither fills the queue with its past.
#[test]
fn latest_of_each_key() {
    let outbox = outbox(4, 1 << 10, Overflow::Conflate);
    let mut taken = Vec::new();
    for n in 0..6 {
        for key in ["a", "b", "c"] {
            assert_eq!(push(&outbox, &format!("{key}:{n}")), Ok(()));
        }
        taken.push(word(&take(&outbox)));
    }
    assert_eq!(taken, ["a:0", "b:1", "c:2", "a:3", "b:4", "c:5"]);
    let (mut ticket, key) = (None, Some(&Arc::from("a")));
    assert_eq!(outbox.poll_push(&noop(), &mut ticket, &frame("a:6"), key), Poll::Ready(Ok(())));
    assert_eq!(drain(&outbox), ["a:6", "b:5"]);
}

/// B13: the bound in bytes counts frame heads, and holds for every policy; one larger message may stand alone.
#[test]
fn bounded_in_bytes() {
    // Heads of 2 bytes: two messages of 8 fit into 20 bytes.
    let outbox = outbox(100, 20, Overflow::DropNew);
    assert_eq!(push(&outbox, "12345678"), Ok(()));
    assert_eq!(push(&outbox, "12345678"), Ok(()));
    assert_eq!(push(&outbox, ""), Err(Refused::Full));
    assert_eq!(drain(&outbox).len(), 2);
    assert_eq!(push(&outbox, &"x".repeat(1_000)), Ok(()));
    assert_eq!(push(&outbox, ""), Err(Refused::Full));
    assert_eq!(drain(&outbox), ["x".repeat(1_000)]);
}

/// B8: a close waits for what was sent before it, and nothing is sent after it.
#[test]
fn close_goes_behind_data() {
    let outbox = outbox(4, 1 << 10, Overflow::Close);
    assert_eq!(push(&outbox, "a"), Ok(()));
    assert_eq!(outbox.close(Some(CloseFrame::new(3000, "bye"))), Ok(()));
    assert_eq!(push(&outbox, "b"), Err(Refused::Closed));
    assert_eq!(outbox.push_control(Control::Ping("".into())), Err(Refused::Closed));
    assert_eq!(outbox.close(None), Err(Refused::Closed));
    assert_eq!(outbox.cut(CloseFrame::TARGET_DOWN, Reason::TargetDown), Err(Refused::Closed));
    assert_eq!(drain(&outbox), ["a", "close 3000"]);
    assert_eq!(outbox.ending(), Some(Reason::Local(Some(CloseFrame::new(3000, "bye")))));
    assert_eq!(drain(&outbox), [""; 0]);
}

/// B13: pings and pongs overtake data, are bounded, and survive what makes data drop.
#[test]
fn control_lane() {
    let outbox = outbox(1, 1 << 10, Overflow::Close);
    assert_eq!(push(&outbox, "a"), Ok(()));
    for n in 0..MAX_CONTROL {
        assert_eq!(outbox.push_control(Control::Pong(n.to_string().into())), Ok(()));
    }
    assert_eq!(outbox.push_control(Control::Ping("".into())), Err(Refused::Full));
    assert_eq!(push(&outbox, "b"), Err(Refused::Full));
    let words = drain(&outbox);
    assert_eq!(words.len(), MAX_CONTROL + 1);
    assert_eq!(words[0], "pong 0");
    assert_eq!(words[MAX_CONTROL], "close 1013");
    assert_eq!(outbox.ending(), Some(Reason::SlowConsumer));
}

/// B10: senders that wait get room in the order in which they came, and one that gives up costs no other its turn.
#[test]
fn waiting_senders_take_turns() {
    let outbox = outbox(1, 1 << 10, Overflow::Close);
    assert_eq!(push(&outbox, "first"), Ok(()));
    let counts: [Arc<Count>; 3] = Default::default();
    let mut tickets = [None; 3];
    let poll = |n: usize, ticket: &mut Option<Ticket>| {
        let waker = Waker::from(Arc::clone(&counts[n]));
        outbox.poll_push(&Context::from_waker(&waker), ticket, &frame(&n.to_string()), None)
    };
    for (n, ticket) in tickets.iter_mut().enumerate() {
        assert_eq!(poll(n, ticket), Poll::Pending);
    }
    assert_eq!(poll(2, &mut tickets[2]), Poll::Pending);
    assert_eq!(word(&take(&outbox)), "first");
    assert_eq!(counts.each_ref().map(|count| count.woken()), [1, 0, 0]);
    // A later one that looks does not overtake the one that was woken.
    assert_eq!(poll(1, &mut tickets[1]), Poll::Pending);
    outbox.give_up(&mut tickets[0]);
    assert_eq!(counts.each_ref().map(|count| count.woken()), [1, 1, 0]);
    assert_eq!(poll(1, &mut tickets[1]), Poll::Ready(Ok(())));
    assert_eq!(poll(2, &mut tickets[2]), Poll::Pending);
    assert_eq!(word(&take(&outbox)), "1");
    assert_eq!(counts.each_ref().map(|count| count.woken()), [1, 1, 1]);
    assert_eq!(poll(2, &mut tickets[2]), Poll::Ready(Ok(())));
}

/// B10: senders that wait fill half of an outbox, and leave the rest to those that do not.
#[test]
fn waiting_senders_leave_room() {
    let outbox = outbox(8, 1 << 10, Overflow::Close);
    let mut ticket = None;
    for _ in 0..4 {
        let poll = outbox.poll_push(&noop(), &mut ticket, &frame("a"), None);
        assert_eq!(poll, Poll::Ready(Ok(())));
    }
    assert_eq!(outbox.poll_push(&noop(), &mut ticket, &frame("a"), None), Poll::Pending);
    for _ in 0..4 {
        assert_eq!(push(&outbox, "b"), Ok(()));
    }
    assert_eq!(push(&outbox, "b"), Err(Refused::Full));
}

/// B10: senders that wait for room learn of the end of the connection.
#[test]
fn waiting_senders_learn_of_the_end() {
    for end in [
        |outbox: &Outbox| assert_eq!(outbox.end(), 1),
        |outbox: &Outbox| outbox.close(None).unwrap(),
        |outbox: &Outbox| outbox.cut(CloseFrame::TARGET_DOWN, Reason::TargetDown).unwrap(),
    ] {
        let outbox = outbox(1, 1 << 10, Overflow::Close);
        assert_eq!(push(&outbox, "a"), Ok(()));
        let count = Arc::<Count>::default();
        let waker = Waker::from(Arc::clone(&count));
        let (cx, mut ticket) = (Context::from_waker(&waker), None);
        assert_eq!(outbox.poll_push(&cx, &mut ticket, &frame("b"), None), Poll::Pending);
        end(&outbox);
        assert_eq!(count.woken(), 1);
        let poll = outbox.poll_push(&cx, &mut ticket, &frame("b"), None);
        assert_eq!(poll, Poll::Ready(Err(Refused::Closed)));
    }
}

/// The writer is woken by each lane, once for each time that it found nothing.
#[test]
fn the_writer_is_woken() {
    type Queue = fn(&Outbox) -> Result<(), Refused>;
    let lanes: [Queue; 4] = [
        |outbox| push(outbox, "a"),
        |outbox| outbox.push_control(Control::Ping("".into())),
        |outbox| outbox.close(None),
        |outbox| outbox.cut(CloseFrame::TARGET_DOWN, Reason::TargetDown),
    ];
    for lane in lanes {
        let outbox = outbox(4, 1 << 10, Overflow::Close);
        let count = Arc::<Count>::default();
        let waker = Waker::from(Arc::clone(&count));
        assert_eq!(outbox.poll_take(&Context::from_waker(&waker)), Poll::Pending);
        assert_eq!(lane(&outbox), Ok(()));
        assert_eq!(count.woken(), 1);
        assert!(outbox.poll_take(&noop()).is_ready());
    }
}

fn take(outbox: &Outbox) -> Out {
    match outbox.poll_take(&noop()) {
        Poll::Ready(out) => out,
        Poll::Pending => panic!("nothing to take"),
    }
}

#[derive(Clone, Debug)]
enum Op {
    Push(usize, Option<u8>),
    Take,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0..40_usize, proptest::option::of(0..4_u8)).prop_map(|(len, key)| Op::Push(len, key)),
        2 => Just(Op::Take),
    ]
}

proptest! {
    /// B13: whatever is done, the bound holds, and what comes out is what a plain list would give.
    #[test]
    fn agrees_with_a_list(
        ops in proptest::collection::vec(op(), 0..200),
        overflow in prop_oneof![Just(Overflow::DropNew), Just(Overflow::DropOld), Just(Overflow::Conflate)],
    ) {
        const MESSAGES: usize = 6;
        const BYTES: usize = 100;
        let outbox = outbox(MESSAGES, BYTES, overflow);
        let mut list: Vec<(String, Option<u8>)> = Vec::new();
        let sum = |list: &[(String, Option<u8>)]| list.iter().map(|(text, _)| text.len() + 2).sum::<usize>();
        let fits = |list: &[(String, Option<u8>)], len: usize| {
            list.is_empty() || list.len() < MESSAGES && sum(list) + len + 2 <= BYTES
        };
        for (n, op) in ops.into_iter().enumerate() {
            match op {
                Op::Push(len, key) => {
                    let text = format!("{n:>len$}");
                    let name = key.map(|key| Arc::from(key.to_string()));
                    let result = outbox.push(&frame(&text), name.as_ref(), &mut Lost::default()).map(drop);
                    let mut next = list.clone();
                    if !fits(&list, text.len()) {
                        while overflow == Overflow::DropOld && !fits(&next, text.len()) {
                            next.remove(0);
                        }
                    }
                    let renews = overflow == Overflow::Conflate && key.is_some();
                    if let Some(at) = list.iter().position(|(_, old)| renews && *old == key) {
                        next[at].0 = text;
                        if next.len() == 1 || sum(&next) <= BYTES {
                            list = next;
                            prop_assert_eq!(result, Ok(()));
                        } else {
                            prop_assert_eq!(result, Err(Refused::Full));
                        }
                    } else if fits(&next, text.len()) {
                        next.push((text, key));
                        list = next;
                        prop_assert_eq!(result, Ok(()));
                    } else {
                        prop_assert_eq!(result, Err(Refused::Full));
                    }
                }
                Op::Take => match outbox.poll_take(&noop()) {
                    Poll::Ready(out) => prop_assert_eq!(word(&out), list.remove(0).0),
                    Poll::Pending => prop_assert!(list.is_empty()),
                },
            }
            prop_assert_eq!(outbox.load().0, list.len());
            prop_assert_eq!(outbox.load().1, sum(&list));
            prop_assert!(list.len() <= MESSAGES && (list.len() == 1 || sum(&list) <= BYTES));
        }
    }
}
