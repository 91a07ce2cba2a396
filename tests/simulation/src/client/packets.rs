//! The packets of a client: namespaces, events, acknowledgements, attachments.

use super::{Client, Temper};
use crate::application::{HOARDED, NAMESPACES, answer, attachment, is_attachment};
use crate::clock::Micros;
use crate::trace::note;
use std::collections::BTreeMap;

/// A packet on its way out.
#[derive(Clone, Debug)]
pub(super) enum Outgoing {
    Text(String),
    Binary(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Presence {
    /// Asked for; whether as a socket that was there before.
    Asked {
        comes_back: bool,
    },
    Connected(String),
}

/// An event of the server.
#[derive(Debug)]
struct Incoming {
    namespace: String,
    ack: Option<u64>,
    arguments: String,
    has_attachment: bool,
}

/// What a client knows of its session.
#[derive(Debug, Default)]
pub(super) struct Packets {
    pub(super) outgoing: Vec<Outgoing>,
    /// Answers that are sent when the client thinks of it.
    pub(super) delayed: Vec<(Micros, String)>,
    sockets: BTreeMap<String, Presence>,
    /// Came before the namespace was joined: what is sent again after a return.
    before: BTreeMap<String, Vec<(u64, Option<String>)>>,
    unfinished: Option<Incoming>,
    asked: BTreeMap<u64, u64>,
    next_ack: u64,
    /// By namespace: private id and the last offset.
    pids: BTreeMap<String, String>,
    offsets: BTreeMap<String, String>,
    /// Bytes of chance went out in this session: what follows them may be taken for a part of them.
    pub(super) has_sent_chance: bool,
}

impl Packets {
    pub(super) fn begin(&mut self) {
        self.next_ack = 0;
    }

    /// The session is over; a flaky client remembers where it was.
    pub(super) fn end(&mut self, recovers: bool) {
        let (pids, offsets) = (std::mem::take(&mut self.pids), std::mem::take(&mut self.offsets));
        *self = Self::default();
        if recovers {
            (self.pids, self.offsets) = (pids, offsets);
        }
    }

    pub(super) fn connected_sids(&self) -> Vec<String> {
        self.sockets
            .values()
            .filter_map(|presence| match presence {
                Presence::Connected(sid) => Some(sid.clone()),
                Presence::Asked { .. } => None,
            })
            .collect()
    }

    /// Every question of a client whose sockets are all there has been answered.
    pub(super) fn check_answered(&self, client: usize) {
        let is_whole = self.sockets.values().all(|presence| matches!(presence, Presence::Connected(_)));
        assert!(is_whole, "violation: client {client} asked for a namespace and was not answered");
        assert!(self.unfinished.is_none(), "violation: client {client} waits for an attachment");
    }
}

fn prefix(namespace: &str) -> String {
    if namespace == "/" { String::new() } else { format!("{namespace},") }
}

impl Client {
    pub(super) fn send(&mut self, text: String) {
        self.packets.outgoing.push(Outgoing::Text(text));
    }

    fn ask_for(&mut self, namespace: &str) {
        let former = self.packets.pids.get(namespace).zip(self.packets.offsets.get(namespace));
        let former = former.filter(|_| self.habits.recovers);
        let presence = Presence::Asked { comes_back: former.is_some() };
        let auth = match former {
            Some((pid, offset)) => format!("{{\"pid\":\"{pid}\",\"offset\":\"{offset}\"}}"),
            None => String::new(),
        };
        self.packets.sockets.insert(namespace.to_owned(), presence);
        self.send(format!("40{}{auth}", prefix(namespace)));
        if !auth.is_empty() {
            self.relapse();
        }
    }

    pub(super) fn join_or_leave_namespace(&mut self) {
        let namespace = *self.chance.pick(&NAMESPACES);
        match self.packets.sockets.get(namespace).cloned() {
            None if self.chance.one_in(8) => self.send("40/unknown,".to_owned()),
            None => self.ask_for(namespace),
            Some(Presence::Connected(_)) if self.packets.sockets.len() > 1 => {
                note!("client {}: leaves {namespace}", self.number);
                self.forget(namespace);
                self.send(format!("41{}", prefix(namespace)));
            }
            Some(_) => {}
        }
    }

    fn forget(&mut self, namespace: &str) {
        self.packets.sockets.remove(namespace);
        self.packets.pids.remove(namespace);
        self.packets.offsets.remove(namespace);
    }

    /// Namespace and id of each socket.
    fn connected(&self) -> Vec<(String, String)> {
        let sockets = self.packets.sockets.iter();
        sockets
            .filter_map(|(namespace, presence)| match presence {
                Presence::Connected(sid) => Some((namespace.clone(), sid.clone())),
                Presence::Asked { .. } => None,
            })
            .collect()
    }

    /// Says this event on one of its sockets, outside of what is counted.
    pub(super) fn say_on_one(&mut self, event: &str) {
        let connected = self.connected();
        if !connected.is_empty() {
            let (namespace, _) = self.chance.pick(&connected);
            let text = format!("42{}[\"{event}\"]", prefix(namespace));
            note!("client {}: says {text}", self.number);
            self.send(text);
        }
    }

    /// Says something on one of its sockets.
    pub(super) fn say(&mut self) {
        let connected = self.connected();
        if connected.is_empty() {
            return;
        }
        for _ in 0..1 + self.chance.below(3) {
            let (namespace, sid) = self.chance.pick(&connected).clone();
            let number = self.common.oracle.borrow_mut().next_sent(&sid);
            let mut id = String::new();
            if self.chance.one_in(3) {
                id = self.packets.next_ack.to_string();
                self.packets.asked.insert(self.packets.next_ack, number);
                self.packets.next_ack += 1;
            }
            let padding = "y".repeat(if self.chance.one_in(5) { self.chance.below(2_000) } else { 0 });
            if self.chance.one_in(6) {
                let placeholder = "{\"_placeholder\":true,\"num\":0}";
                self.send(format!("451-{}{id}[\"u\",{number},{placeholder}]", prefix(&namespace)));
                self.packets.outgoing.push(Outgoing::Binary(attachment(number).to_vec()));
            } else {
                self.send(format!("42{}{id}[\"u\",{number},\"{padding}\"]", prefix(&namespace)));
            }
        }
    }

    // ---- hearing

    pub(super) fn handle_packet(&mut self, packet: &str) {
        let Some(kind) = packet.chars().next() else { panic!("violation: an empty packet") };
        match kind {
            '0' => self.handle_open(&packet[1..]),
            '1' => self.lose_because("the server said close"),
            '2' => {
                if self.temper != Temper::Rude || !self.chance.one_in(5) {
                    self.send("3".to_owned());
                }
            }
            '4' => self.handle_message(&packet[1..]),
            '3' | '6' => {}
            _ => panic!("violation: the packet {packet:?}"),
        }
    }

    fn handle_open(&mut self, json: &str) {
        let sid = json.strip_prefix("{\"sid\":\"").and_then(|rest| rest.get(..20)).expect("violation: no sid");
        if let Some(transport) = &mut self.transport {
            assert!(transport.sid.is_empty(), "violation: a session opens twice");
            sid.clone_into(&mut transport.sid);
        }
        self.ask_for("/");
        if self.chance.one_in(3) {
            self.ask_for("/a");
        }
    }

    fn handle_message(&mut self, text: &str) {
        assert!(self.packets.unfinished.is_none(), "violation: a packet before the attachment of another one");
        let kind = text.chars().next().unwrap_or('?');
        let mut rest = &text[1..];
        let has_attachment = matches!(kind, '5' | '6');
        if has_attachment {
            rest = rest.strip_prefix("1-").expect("violation: events have one attachment here");
        }
        let mut namespace = "/";
        if rest.starts_with('/') {
            (namespace, rest) = rest.split_once(',').unwrap_or((rest, ""));
        }
        let digits = rest.len() - rest.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
        let ack = rest[..digits].parse().ok();
        let data = &rest[digits..];
        match kind {
            '0' => self.handle_connected(namespace, data),
            '1' => {
                note!("client {}: was sent away from {namespace}", self.number);
                self.forget(namespace);
            }
            '2' | '5' => {
                let arguments = data.to_owned();
                let incoming = Incoming { namespace: namespace.to_owned(), ack, arguments, has_attachment };
                if has_attachment {
                    self.packets.unfinished = Some(incoming);
                } else {
                    self.handle_event(&incoming, &[]);
                }
            }
            '3' => {
                let asked = ack.and_then(|id| self.packets.asked.remove(&id));
                let Some(number) = asked else { panic!("violation: {text:?} answers nothing, or a second time") };
                assert_eq!(data, format!("[{number}]"), "violation: the answer to another question");
            }
            '4' => {
                note!("client {}: was refused {namespace}: {data}", self.number);
                self.forget(namespace);
            }
            _ => panic!("violation: the packet {text:?}"),
        }
    }

    fn handle_connected(&mut self, namespace: &str, data: &str) {
        let value = |key: &str| Some(data.split_once(&format!("\"{key}\":\""))?.1.split_once('"')?.0.to_owned());
        let sid = value("sid").expect("violation: a CONNECT without sid");
        let Some(presence) = self.packets.sockets.get_mut(namespace) else {
            return; // It has left meanwhile.
        };
        assert!(matches!(presence, Presence::Asked { .. }), "violation: connected twice to {namespace}");
        note!("client {}: is {sid} in {namespace}", self.number);
        *presence = Presence::Connected(sid.clone());
        if self.packets.has_sent_chance {
            self.common.oracle.borrow_mut().may_be_swallowed(sid.clone());
        }
        let before = self.packets.before.remove(namespace).unwrap_or_default();
        match value("pid") {
            Some(pid) => {
                let former = self.packets.pids.insert(namespace.to_owned(), pid.clone());
                if former != Some(pid) {
                    self.packets.offsets.remove(namespace);
                    assert!(before.is_empty(), "violation: events for a socket that is not back");
                }
            }
            None => assert!(before.is_empty(), "violation: events before CONNECT"),
        }
        for (id, offset) in before {
            self.note_event(namespace, &sid, id, offset);
        }
    }

    pub(super) fn handle_binary(&mut self, bytes: &[u8]) {
        let Some(incoming) = self.packets.unfinished.take() else { panic!("violation: an attachment of nothing") };
        self.handle_event(&incoming, bytes);
    }

    /// `["d","xxx",{..},17]`, with an offset behind it if it can be recovered.
    fn handle_event(&mut self, incoming: &Incoming, bytes: &[u8]) {
        if incoming.arguments == HOARDED {
            return; // It answers none of them.
        }
        let arguments = incoming.arguments.trim_end_matches(']');
        let (arguments, offset) = match arguments.strip_suffix('"') {
            Some(rest) => rest.rsplit_once(",\"").map(|(rest, offset)| (rest, Some(offset.to_owned()))),
            None => Some((arguments, None)),
        }
        .unwrap_or_else(|| panic!("violation: the event {:?}", incoming.arguments));
        let id: Option<u64> = arguments.rsplit_once(',').and_then(|(_, id)| id.parse().ok());
        let Some(id) = id else { panic!("violation: the event {:?}", incoming.arguments) };
        if incoming.has_attachment {
            assert!(is_attachment(bytes, id), "violation: an attachment is not what was sent");
        }
        let namespace = &incoming.namespace;
        match self.packets.sockets.get(namespace).cloned() {
            Some(Presence::Connected(sid)) => {
                self.note_event(namespace, &sid, id, offset);
                if let Some(ack) = incoming.ack {
                    self.answer(namespace, ack, &sid, id);
                }
            }
            Some(Presence::Asked { comes_back: true }) => {
                self.packets.before.entry(namespace.clone()).or_default().push((id, offset));
            }
            // It has left, or left and asked again; what was on its way is dropped.
            None | Some(Presence::Asked { .. }) => {}
        }
    }

    fn note_event(&mut self, namespace: &str, sid: &str, id: u64, offset: Option<String>) {
        self.common.oracle.borrow_mut().received(sid, id);
        if let Some(offset) = offset {
            self.packets.offsets.insert(namespace.to_owned(), offset);
        }
    }

    fn answer(&mut self, namespace: &str, ack: u64, sid: &str, id: u64) {
        let answer = format!("43{}{ack}{}", prefix(namespace), answer(sid, id, self.habits.server_count > 1));
        match self.chance.below(20) {
            0 => {}
            1..4 => self.packets.delayed.push((self.now(), answer)),
            4..8 if self.temper == Temper::Rude => {
                self.send(answer.clone());
                self.send(answer);
            }
            _ => self.send(answer),
        }
    }
}
