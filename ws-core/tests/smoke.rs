//! Two connections talk through byte arrays.

use ws_core::*;

#[test]
fn a_message_goes_there_and_back() {
    let now = Instant::ZERO;
    let mut server = Connection::server(Config::server(), now);
    let mut client = Connection::client(Config::client(), now, [7; 32]);
    let mut wire = [0; 256];
    let n = client.send(Message::Text("hello"), &mut wire).unwrap();
    let recv = server.recv(now, &mut wire[..n]).unwrap();
    assert_eq!((recv.consumed, recv.event), (n, Some(Event::Text("hello"))));
    client.ping(b"are you there").unwrap();
    let n = client.transmit(&mut wire);
    let recv = server.recv(now, &mut wire[..n]).unwrap();
    assert_eq!(recv.event, Some(Event::Ping(b"are you there")));
    let n = server.send(Message::Binary(&[1; 100]), &mut wire).unwrap();
    let recv = client.recv(now, &mut wire[..n]).unwrap();
    assert_eq!(recv.event, Some(Event::Pong(b"are you there")));
    let at = recv.consumed;
    let recv = client.recv(now, &mut wire[at..n]).unwrap();
    assert_eq!(recv.event, Some(Event::Binary(&mut [1; 100])));
    client.close(now, Some(CloseFrame::new(1000, "bye"))).unwrap();
    let n = client.transmit(&mut wire);
    let recv = server.recv(now, &mut wire[..n]).unwrap();
    let frame = Some(CloseFrame::new(1000, "bye"));
    assert_eq!(recv.event, Some(Event::Close(Closed { frame, interrupted: false })));
    assert_eq!(server.transport(), Transport::Shutdown);
    let n = server.transmit(&mut wire);
    let recv = client.recv(now, &mut wire[..n]).unwrap();
    assert!(matches!(recv.event, Some(Event::Close(_))));
    assert_eq!(client.recv_eof(now), Ok(()));
}

#[test]
fn fragments_are_joined_byte_by_byte() {
    let now = Instant::ZERO;
    let mut server = Connection::server(Config::server(), now);
    let mut client = Connection::client(Config::client(), now, [7; 32]);
    let mut wire = vec![0; 4096];
    let mut n = 0;
    n += client.send_part(Message::Text("héllo "), Part::First, &mut wire[n..]).unwrap();
    client.ping(b"in between").unwrap();
    n += client.transmit(&mut wire[n..]);
    n += client.send_part(Message::Text(""), Part::Middle, &mut wire[n..]).unwrap();
    n += client.send_part(Message::Text("wörld €"), Part::Last, &mut wire[n..]).unwrap();
    n += client.send(Message::Binary(b"xyz"), &mut wire[n..]).unwrap();
    let mut session = Session::<Vec<u8>>::new(server);
    let mut events = Vec::new();
    for byte in &wire[..n] {
        loop {
            match session.advance(now).unwrap() {
                Advance::Event => events.push(format!("{:?}", session.event().unwrap())),
                Advance::Read { at_least } => {
                    assert!(at_least > session.buffered());
                    session.space(Vec::new, at_least)[0] = *byte;
                    session.received(1);
                    break;
                }
                Advance::Finished => panic!("finished"),
            }
        }
    }
    while let Advance::Event = session.advance(now).unwrap() {
        events.push(format!("{:?}", session.event().unwrap()));
    }
    assert_eq!(
        events,
        [
            "Ping([105, 110, 32, 98, 101, 116, 119, 101, 101, 110])",
            "Text(\"héllo wörld €\")",
            "Binary([120, 121, 122])"
        ]
    );
    server = Connection::server(Config::server(), now);
    assert!(server.can_recv());
}
