//! Namespaces, events, acknowledgements, and every way to break their rules.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use ringio_core::door::{DisconnectReason, EmitFlags, EventParts};
use ringio_core::limits::attachments_deadline_ms;
use ringio_core::options::Options;
use world::{Heard, World, binary, polling_url, text};

fn event(json: &str) -> EventParts<'_> {
    EventParts { json: json.as_bytes(), attachments: &[] }
}

fn disconnects(world: &World) -> Vec<DisconnectReason> {
    world
        .heard
        .iter()
        .filter_map(|heard| if let Heard::Disconnected(_, reason, _) = heard { Some(*reason) } else { None })
        .collect()
}

#[test]
fn connect_is_answered_with_a_fresh_sid() {
    let mut world = World::new(1, Options::default());
    let wire = world.websocket(0);
    world.send(wire, &text("40/admin,{\"token\":\"x\"}"));
    let socket = world.last_connected();
    assert_eq!(world.shards[0].auth(socket), Some(b"{\"token\":\"x\"}".as_slice()));
    let id = world.shards[0].socket_id(socket).unwrap();
    assert_ne!(Some(id), world.shards[0].session_id(socket), "a socket's id is not its session's");
    assert_eq!(world.take_messages(wire), [format!("40/admin,{{\"sid\":\"{id}\"}}")]);
    world.send(wire, &text("40"));
    assert_eq!(world.take_messages(wire).len(), 1, "one connection, two namespaces");
}

#[test]
fn an_unknown_namespace_is_refused_and_the_connection_stays() {
    let mut world = World::new(1, Options::default());
    let wire = world.websocket(0);
    world.send(wire, &text("40/nowhere"));
    assert_eq!(world.take_messages(wire), ["44/nowhere,{\"message\":\"Invalid namespace\"}"]);
    assert!(!world.is_over(wire));
}

#[test]
fn the_connect_timeout_ends_a_client_that_joins_nothing() {
    let mut world = World::new(1, Options { connect_timeout_ms: 1_000, ..Options::default() });
    let idle = world.websocket(0);
    let refused = world.websocket(0);
    world.send(refused, &text("40/nowhere"));
    let joined = world.websocket(0);
    world.send(joined, &text("40"));
    world.send(joined, &text("41"));
    world.advance(999);
    assert!(!world.is_over(idle));
    world.advance(1);
    assert!(world.is_over(idle));
    assert!(world.is_over(refused), "a refusal does not count");
    assert!(!world.is_over(joined), "having joined once does");
}

#[test]
fn what_breaks_the_protocol_closes_the_connection() {
    let cases = [
        ("40", "a second CONNECT"),
        ("42/admin,[\"x\"]", "a packet for a namespace not joined"),
        ("44{\"message\":\"x\"}", "CONNECT_ERROR from a client"),
        ("4abc", "an unknown type"),
        ("42{}", "an event that is no array"),
        ("42[]", "an event without a name"),
        ("42[null]", "a name that is no string"),
        ("42[\"connect\"]", "a reserved name"),
        ("42[\"x\"", "JSON cut off"),
        ("451", "attachments without a dash"),
        ("4511-[\"x\"]", "too many attachments"),
        ("450-[\"x\"]", "no attachments in a binary event"),
        ("43{}", "an acknowledgement that is no array"),
    ];
    for (packet, why) in cases {
        let mut world = World::new(1, Options::default());
        let (neighbour, _) = world.joined(0);
        let (wire, _) = world.joined(0);
        world.send(wire, &text(packet));
        assert!(world.is_over(wire), "{why}");
        assert_eq!(disconnects(&world), [DisconnectReason::ForcedClose], "{why}");
        world.send(neighbour, &text("42[\"fine\"]"));
        assert!(
            matches!(world.heard.last(), Some(Heard::Message(_, name, _)) if name == "fine"),
            "{why}: a neighbour is not disturbed"
        );
    }
}

#[test]
fn over_polling_a_violation_is_told_with_the_next_poll() {
    // What the decoder refuses, and what comes at the wrong time.
    for (packet, reason) in [("42{}", DisconnectReason::ForcedClose), ("40", DisconnectReason::ForcedServerClose)] {
        let mut world = World::new(1, Options::default());
        let sid = world.polling(0);
        let url = polling_url(&sid);
        world.post(0, &url, "40");
        world.get(0, &url);
        assert_eq!(world.post(0, &url, packet), (200, "ok".into()));
        assert_eq!(disconnects(&world), [reason]);
        assert_eq!(world.get(0, &url), (200, "6\u{1e}1".into()));
        assert_eq!(world.get(0, &url).0, 400);
    }
}

#[test]
fn over_polling_the_disconnect_packet_and_the_close_come_in_separate_answers() {
    for is_waiting in [false, true] {
        let mut world = World::new(1, Options::default());
        let sid = world.polling(0);
        let url = polling_url(&sid);
        world.post(0, &url, "40");
        world.get(0, &url);
        let poll = world.connect(0);
        let request = format!("GET {url} HTTP/1.1\r\nHost: h\r\n\r\n");
        if is_waiting {
            world.send(poll, request.as_bytes());
        }
        let socket = world.last_connected();
        world.emit(0, socket, "[\"bye\"]").unwrap();
        world.shards[0].disconnect(socket, true);
        world.run();
        if !is_waiting {
            world.send(poll, request.as_bytes());
        }
        assert_eq!(world.answer(poll), (200, "42[\"bye\"]\u{1e}41".into()));
        world.send(poll, request.as_bytes());
        assert_eq!(world.answer(poll), (200, "6\u{1e}1".into()));
        assert_eq!(world.get(0, &url).0, 400);
    }
}

#[test]
fn a_second_connect_while_the_first_is_undecided_breaks_the_protocol() {
    let mut world = World::new(1, Options::default());
    world.decides = false;
    let wire = world.websocket(0);
    world.send(wire, &text("40"));
    world.send(wire, &text("40"));
    assert!(world.is_over(wire));
    let undecided = *world.undecided.first().unwrap();
    world.decide(0, undecided);
    world.run();
    assert!(world.heard.is_empty(), "the decision comes too late");
}

#[test]
fn disconnecting_sees_the_rooms_and_disconnect_does_not() {
    let mut world = World::new(1, Options::default());
    let (wire, socket) = world.joined(0);
    assert!(world.shards[0].join(socket, "a"));
    assert!(!world.shards[0].join(socket, "a"), "joined already");
    assert!(world.shards[0].join(socket, "b"));
    let id = world.shards[0].socket_id(socket).unwrap().to_string();
    world.send(wire, &text("41"));
    let reason = DisconnectReason::ClientNamespaceDisconnect;
    assert_eq!(
        world.heard[1..],
        [
            Heard::Disconnecting(socket, reason, vec![id, "a".into(), "b".into()]),
            Heard::Disconnected(socket, reason, vec![]),
        ]
    );
    assert!(!world.is_over(wire), "the connection stays");
}

#[test]
fn an_event_followed_by_the_leaving_in_one_payload_is_not_delivered() {
    let mut world = World::new(1, Options::default());
    let (wire, _) = world.joined(0);
    world.send(wire, &[text("42[\"too late\"]"), text("41")].concat());
    assert!(!world.heard.iter().any(|heard| matches!(heard, Heard::Message(..))));
    assert_eq!(disconnects(&world), [DisconnectReason::ClientNamespaceDisconnect]);
    let (wire, _) = world.joined(0);
    world.send(wire, &[text("42[\"in time\"]"), world::frame(0x88, b"")].concat());
    assert!(world.heard.iter().any(|heard| matches!(heard, Heard::Message(_, name, _) if name == "in time")));
}

#[test]
fn a_goodbye_to_the_namespace_in_front_of_one_to_the_session_is_not_told_apart() {
    for (body, reason) in [
        ("41\u{1e}1", DisconnectReason::TransportClose),
        ("41\u{1e}x\u{1e}1", DisconnectReason::ClientNamespaceDisconnect),
        ("41\u{1e}42[\"no more\"]", DisconnectReason::ClientNamespaceDisconnect),
    ] {
        let mut world = World::new(1, Options::default());
        let url = polling_url(&world.polling(0));
        world.post(0, &url, "40");
        world.post(0, &url, body);
        assert_eq!(disconnects(&world), [reason], "{body}");
    }
}

#[test]
fn the_server_disconnects_one_namespace_or_the_client() {
    let mut world = World::new(1, Options::default());
    let (wire, main) = world.joined(0);
    world.send(wire, &text("40/admin"));
    let admin = world.last_connected();
    world.take(wire);
    world.shards[0].disconnect(admin, false);
    world.run();
    assert_eq!(world.take_messages(wire), ["41/admin,"]);
    assert!(!world.is_over(wire));
    world.send(wire, &text("40/admin"));
    world.take(wire);
    world.shards[0].disconnect(main, true);
    world.run();
    assert_eq!(world.take_messages(wire), ["41", "41/admin,", "close 1005"]);
    assert_eq!(disconnects(&world), [DisconnectReason::ServerNamespaceDisconnect; 3]);
}

#[test]
fn acknowledgements_go_both_ways_once() {
    let mut world = World::new(1, Options::default());
    let (wire, socket) = world.joined(0);
    world.send(wire, &text("4212[\"q\",1,\"two\"]"));
    assert_eq!(world.take_messages(wire), ["4312[1,\"two\"]"]);
    for waiter in [70, 71, 72] {
        let timeout = (waiter == 72).then_some(100);
        world.shards[0].emit_with_ack(socket, event("[\"a\"]"), EmitFlags::default(), timeout, waiter).unwrap();
    }
    world.run();
    assert_eq!(world.take_messages(wire), ["420[\"a\"]", "421[\"a\"]", "422[\"a\"]"], "ids count from 0");
    world.send(wire, &text("431[\"answer\"]"));
    world.send(wire, &text("431[\"again\"]"));
    world.send(wire, &text("4399[\"to nobody\"]"));
    world.advance(100);
    world.send(wire, &text("432[\"late\"]"));
    world.end(wire);
    let acks: Vec<_> = world
        .heard
        .iter()
        .filter(|heard| matches!(heard, Heard::AckReceived(..) | Heard::AckFailed(_)))
        .cloned()
        .collect();
    assert_eq!(acks, [Heard::AckReceived(71, "[\"answer\"]".into()), Heard::AckFailed(72), Heard::AckFailed(70)]);
}

#[test]
fn attachments_arrive_in_order_or_not_at_all() {
    let mut world = World::new(1, Options::default());
    let (wire, socket) = world.joined(0);
    world.send(wire, &text("452-7[\"b\",{\"_placeholder\":true,\"num\":0},[{\"num\":1,\"_placeholder\":true}]]"));
    assert!(world.heard.len() == 1, "it waits for its attachments");
    world.send(wire, &binary(&[1]));
    world.send(wire, &binary(&[2, 3]));
    assert!(world.heard.contains(&Heard::Binary(socket, "b".into(), vec![vec![1], vec![2, 3]])));
    assert_eq!(world.take_messages(wire)[1..], ["b[01]", "b[02, 03]"], "the acknowledgement carries them back");

    let (stray, _) = world.joined(0);
    world.send(stray, &binary(&[1]));
    assert!(world.heard.contains(&Heard::ProtocolError("got binary data when not reconstructing a packet")));
    let (interrupted, _) = world.joined(0);
    world.send(interrupted, &text("451-[\"b\",{\"_placeholder\":true,\"num\":0}]"));
    world.send(interrupted, &text("42[\"x\"]"));
    assert!(world.heard.contains(&Heard::ProtocolError("got plaintext data when reconstructing a packet")));
    for num in ["1", "-1", "0.5", "\"0\"", "1e9"] {
        let (wild, _) = world.joined(0);
        world.send(wild, &text(&format!("451-[\"b\",{{\"_placeholder\":true,\"num\":{num}}}]")));
        world.send(wild, &binary(&[1]));
        assert!(world.is_over(wild), "{num}");
    }
}

#[test]
fn a_packet_for_a_strange_namespace_ends_the_session_when_its_attachments_are_here() {
    let two = "452-/strange,[\"b\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]";
    let illegal = "451-/strange,[\"b\",{\"_placeholder\":true,\"num\":7}]";
    let late = attachments_deadline_ms(&Options::default());
    for (messages, wait_ms, error) in [
        (vec![text(two), binary(&[1; 1_000]), binary(&[2])], 0, None),
        (vec![text(illegal), binary(&[1])], 0, Some("illegal attachments")),
        (vec![text(two), binary(&[1]), text("3")], late, Some("attachments took too long")),
        (vec![text(two), text("42[\"x\"]")], 0, Some("got plaintext data when reconstructing a packet")),
    ] {
        let mut world = World::new(1, Options { ping_timeout_ms: late, ..Options::default() });
        let (wire, _) = world.joined(0);
        let (last, before) = messages.split_last().unwrap();
        for message in before {
            world.send(wire, message);
            assert!(!world.is_over(wire), "{error:?}: it waits for what was announced");
        }
        world.send(wire, last);
        world.advance(wait_ms);
        assert!(world.is_over(wire), "{error:?}");
        let errors = world
            .heard
            .iter()
            .filter_map(|heard| if let Heard::ProtocolError(error) = heard { Some(*error) } else { None });
        assert_eq!(errors.collect::<Vec<_>>(), Vec::from_iter(error));
        assert_eq!(
            world.heard.iter().filter(|heard| matches!(heard, Heard::Binary(..) | Heard::Message(..))).count(),
            0
        );
        world.advance(60_000);
        assert!(world.shards[0].is_vacant());
    }
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    let play = || {
        let mut world = World::new(3, Options::default());
        let mut said = Vec::new();
        for number in 0..9 {
            let (wire, socket) = world.joined(number % 3);
            world.shards[number % 3].join(socket, "room");
            world.send(wire, &text("421[\"x\",{\"y\":1}]"));
            said.push(world.take(wire));
        }
        (said, format!("{:?}", world.heard))
    };
    assert_eq!(play(), play());
}

#[test]
fn middleware_may_join_rooms_and_emit_before_the_connect_and_a_refusal_undoes_it() {
    use ringio_core::base::id::NamespaceId;
    use std::sync::Arc;
    let mut world = World::new(1, Options::default());
    world.decides = false;
    let (name, main) = (Arc::from("/"), NamespaceId(0));
    for is_refused in [false, true] {
        let wire = world.websocket(0);
        world.send(wire, &text("40"));
        let socket = world.undecided.pop_last().unwrap();
        assert!(world.shards[0].enter_socket(socket, main, &name));
        assert!(world.shards[0].join(socket, "early"));
        world.emit(0, socket, "[\"session\"]").unwrap();
        world.shards[0].broadcast(main, "/", &Default::default(), event("[\"to all\"]"), EmitFlags::default()).unwrap();
        if is_refused {
            world.shards[0].refuse_socket(socket, "no", Some("{\"why\":1}"));
            world.run();
            assert_eq!(world.take_messages(wire), ["42[\"session\"]", "44{\"message\":\"no\",\"data\":{\"why\":1}}"]);
            assert!(!world.shards[0].join(socket, "late"));
        } else {
            assert!(world.shards[0].accept_socket(socket, main, &name));
            world.run();
            let messages = world.take_messages(wire);
            assert_eq!(messages[0], "42[\"session\"]");
            assert!(messages[1].starts_with("40{\"sid\""), "{messages:?}");
            assert_eq!(messages.len(), 2, "broadcasts do not reach a socket that is not in yet");
            world.end(wire);
        }
    }
}

#[test]
fn a_broadcast_gathers_acknowledgements_of_all_shards() {
    use ringio_core::base::id::NamespaceId;
    use std::sync::Arc;
    let (name, main) = (Arc::from("/"), NamespaceId(0));
    let mut world = World::new(3, Options::default());
    let clients: Vec<_> = (0..6).map(|number| world.joined(number % 3)).collect();
    let ask = |world: &mut World, waiter| {
        world.shards[1]
            .broadcast_with_ack(main, &name, &Default::default(), event("[\"q\"]"), EmitFlags::default(), 1_000, waiter)
            .unwrap();
        world.run();
    };
    ask(&mut world, 1);
    let asked = world.take_messages(clients[0].0).pop().unwrap();
    let id = asked.trim_start_matches("42").trim_end_matches("[\"q\"]").to_owned();
    for (number, (wire, _)) in clients.iter().enumerate() {
        assert!(!world.heard.iter().any(|heard| matches!(heard, Heard::Gathered(..))), "before {number}");
        world.send(*wire, &text(&format!("43{id}[{number}]")));
        world.send(*wire, &text(&format!("43{id}[{number}]")));
    }
    let gathered = |world: &World| {
        world.heard.iter().rev().find_map(|heard| {
            if let Heard::Gathered(waiter, answers, whole) = heard {
                Some((*waiter, answers.clone(), *whole))
            } else {
                None
            }
        })
    };
    assert_eq!(gathered(&world), Some((1, (0..6).map(|number| format!("[{number}]")).collect(), true)));
    // One leaves, one stays silent: the rest is told when the time is over.
    ask(&mut world, 2);
    for (wire, _) in &clients {
        world.take(*wire);
    }
    let id = id.parse::<u64>().unwrap() + 3;
    for (number, (wire, _)) in clients.iter().enumerate().take(4) {
        world.send(*wire, &text(&format!("43{id}[{number}]")));
    }
    world.end(clients[4].0);
    world.advance(999);
    assert_eq!(gathered(&world).unwrap().0, 1);
    world.advance(1);
    assert_eq!(gathered(&world), Some((2, (0..4).map(|number| format!("[{number}]")).collect(), false)));
    // The silent one leaves too: nobody has to wait for the timeout.
    ask(&mut world, 3);
    let id = id + 3;
    for (wire, _) in clients.iter().take(4) {
        world.send(*wire, &text(&format!("43{id}[]")));
    }
    world.end(clients[5].0);
    assert_eq!(gathered(&world).map(|(waiter, answers, whole)| (waiter, answers.len(), whole)), Some((3, 4, false)));
    // Nobody to ask: answered at once.
    let target =
        ringio_core::room::select::Target { rooms: [Arc::from("nobody")].into_iter().collect(), ..Default::default() };
    world.shards[0].broadcast_with_ack(main, &name, &target, event("[\"q\"]"), EmitFlags::default(), 1_000, 4).unwrap();
    world.run();
    assert_eq!(gathered(&world), Some((4, vec![], true)));
}

#[test]
fn a_broadcast_that_cannot_ask_everyone_is_told_so_at_once() {
    use ringio_core::base::frame::WhenSlow;
    use ringio_core::base::id::NamespaceId;
    use ringio_core::limits::ACKS_PER_SOCKET_MAX;
    use std::sync::Arc;
    let (name, main) = (Arc::from("/"), NamespaceId(0));
    let silent = "[\"q\"]";
    for asker in [0, 1] {
        for why in ["volatile", "slow", "owes too many"] {
            let mut world = World::new(2, Options { outbox_bytes_max: 64 << 20, ..Options::default() });
            let [(answers, _), (lost, socket)] = [world.joined(1), world.joined(0)];
            let mut sid = String::new();
            let mut flags = EmitFlags { volatile: why == "volatile", ..EmitFlags::default() };
            match why {
                "volatile" => {
                    // Without a GET that waits.
                    world.end(lost);
                    sid = world.polling(0);
                    world.post(0, &polling_url(&sid), "40");
                    world.get(0, &polling_url(&sid));
                }
                "slow" => {
                    flags.when_slow = Some(WhenSlow::DropNew);
                    world.stick(lost, true);
                    let long = format!("[\"{}\"]", "x".repeat(1 << 20));
                    while world.shards[0].emit(socket, event(&long), flags).is_ok() {
                        world.run();
                    }
                    while world.shards[0].emit(socket, event(silent), flags).is_ok() {}
                }
                _ => {
                    for waiter in 0..ACKS_PER_SOCKET_MAX as u64 {
                        world.shards[0].emit_with_ack(socket, event(silent), flags, None, 1_000 + waiter).unwrap();
                    }
                    world.run();
                    world.take(lost);
                }
            }
            world.shards[asker]
                .broadcast_with_ack(main, &name, &Default::default(), event("[\"asked\"]"), flags, 1_000, 7)
                .unwrap();
            world.run();
            let is_told = match why {
                "volatile" => world.get(0, &polling_url(&sid)).1.contains("asked"),
                _ => world.take_messages(lost).iter().any(|message| message.ends_with("[\"asked\"]")),
            };
            assert_eq!(
                is_told,
                why == "owes too many",
                "{why}: the event itself is sent though its answer is not waited for"
            );
            let asked = world.take_messages(answers).pop().unwrap();
            let id = asked.strip_prefix("42").and_then(|asked| asked.strip_suffix("[\"asked\"]")).unwrap().to_owned();
            assert!(!world.heard.iter().any(|heard| matches!(heard, Heard::Gathered(..))), "{why}: one may answer yet");
            world.send(answers, &text(&format!("43{id}[1]")));
            let gathered = world.heard.iter().find(|heard| matches!(heard, Heard::Gathered(..)));
            assert_eq!(gathered, Some(&Heard::Gathered(7, vec!["[1]".into()], false)), "{why}, asked by {asker}");
        }
    }
}

#[test]
fn broadcasts_with_acks_in_two_namespaces_do_not_mix_though_their_ids_are_the_same() {
    use ringio_core::base::id::NamespaceId;
    use std::sync::Arc;
    let mut world = World::new(2, Options::default());
    let wire = world.websocket(1);
    world.send(wire, &text("40"));
    world.send(wire, &text("40/admin"));
    world.take(wire);
    for (number, name) in [(0, "/"), (1, "/admin")] {
        let name = Arc::from(name);
        world.shards[0]
            .broadcast_with_ack(
                NamespaceId(number),
                &name,
                &Default::default(),
                event("[\"q\"]"),
                EmitFlags::default(),
                1_000,
                u64::from(number) + 50,
            )
            .unwrap();
    }
    world.run();
    assert_eq!(world.take_messages(wire), ["420[\"q\"]", "42/admin,0[\"q\"]"], "each namespace counts from 0");
    world.send(wire, &text("43/admin,0[\"second\"]"));
    world.send(wire, &text("430[\"first\"]"));
    let gathered: Vec<_> = world.heard.iter().filter(|heard| matches!(heard, Heard::Gathered(..))).cloned().collect();
    assert_eq!(
        gathered,
        [Heard::Gathered(51, vec!["[\"second\"]".into()], true), Heard::Gathered(50, vec!["[\"first\"]".into()], true)]
    );
}
