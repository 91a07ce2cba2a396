//! Several servers in one simulated cluster: messages take time, get cut off and come twice. Time is advanced by hand.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use ringio_core::base::id::{NamespaceId, SocketKey};
use ringio_core::cluster::nodes::HeartbeatOptions;
use ringio_core::cluster::roll::{Members, Tally};
use ringio_core::cluster::{ClusterMessage, ClusterPacket, NodeId, RequestId};
use ringio_core::door::{EmitFlags, Event, EventParts, Operation};
use ringio_core::limits::{CLUSTER_QUESTIONS_MAX, CLUSTER_TIMEOUT_MS_MAX, FETCH_DEADLINE_MS};
use ringio_core::options::Options;
use ringio_core::room::select::Target;
use ringio_core::shard::cluster::ClusterOptions;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use world::{Heard, Wire, World, text};

const MAIN: NamespaceId = NamespaceId(0);
const HEARTBEAT: HeartbeatOptions = HeartbeatOptions { interval_ms: 5_000, timeout_ms: 10_000 };

/// A message under way.
struct Letter {
    from: usize,
    to: usize,
    message: Arc<ClusterMessage>,
}

struct Servers {
    worlds: Vec<World>,
    has_heartbeat: bool,
    now: u64,
    /// By arrival.
    letters: BTreeMap<(u64, u64), Letter>,
    sent: u64,
    /// Milliseconds from one server to another, 0 if not named.
    delays: BTreeMap<(usize, usize), u64>,
    /// Nothing comes from or to these.
    dead: BTreeSet<usize>,
    comes_twice: bool,
    heard: VecDeque<(usize, Event)>,
    published: Vec<u8>,
}

fn node(server: usize) -> NodeId {
    NodeId::of_number(server as u64)
}

fn event(json: &str) -> EventParts<'_> {
    EventParts { json: json.as_bytes(), attachments: &[] }
}

fn to(room: &str) -> Target {
    Target { rooms: [Arc::from(room)].into_iter().collect(), ..Target::default() }
}

fn packet(json: &str) -> ClusterPacket {
    ClusterPacket::new(event(json))
}

impl Servers {
    fn new(server_count: usize, shard_count: u16, has_heartbeat: bool) -> Self {
        let mut worlds: Vec<World> = (0..server_count)
            .map(|server| {
                // Nobody here answers pings.
                let options = Options { ping_interval_ms: 2 * CLUSTER_TIMEOUT_MS_MAX, ..Options::default() };
                World::seeded(server as u8, shard_count, options, Vec::new())
            })
            .collect();
        for (server, world) in worlds.iter_mut().enumerate() {
            let heartbeat = has_heartbeat.then_some(HEARTBEAT);
            for shard in &mut world.shards {
                shard.join_cluster(ClusterOptions {
                    secret: 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(server as u64 + 1),
                    heartbeat,
                });
            }
            world.shards[0].open_in_cluster(MAIN);
        }
        let mut servers = Self {
            worlds,
            has_heartbeat,
            now: 0,
            letters: BTreeMap::new(),
            sent: 0,
            delays: BTreeMap::new(),
            dead: BTreeSet::new(),
            comes_twice: false,
            heard: VecDeque::new(),
            published: Vec::new(),
        };
        servers.run();
        servers.published.clear();
        servers
    }

    /// Everything that happens without time passing.
    fn run(&mut self) {
        loop {
            let mut is_busy = false;
            for server in 0..self.worlds.len() {
                self.worlds[server].run();
                while let Some((shard, event)) = self.worlds[server].told.pop_front() {
                    is_busy = true;
                    self.take(server, shard, event);
                }
            }
            while let Some(entry) = self.letters.first_entry().filter(|entry| entry.key().0 <= self.now) {
                is_busy = true;
                let Letter { from, to, message } = entry.remove();
                if self.dead.contains(&to) {
                    continue;
                }
                for _ in 0..if self.comes_twice { 2 } else { 1 } {
                    self.worlds[to].shards[0].handle_cluster(&node(from), MAIN, &Arc::from("/"), &message);
                }
                // One after the other, as a link delivers.
                self.worlds[to].run();
            }
            if !is_busy {
                return;
            }
        }
    }

    fn take(&mut self, server: usize, shard: usize, event: Event) {
        match event {
            Event::Publish { to, message, .. } => {
                self.published.push(message.number());
                let receivers = (0..self.worlds.len()).filter(|other| *other != server);
                for other in receivers.filter(|other| to.as_ref().is_none_or(|to| *to == node(*other))) {
                    if self.dead.contains(&server) || self.dead.contains(&other) {
                        continue;
                    }
                    let delay = self.delays.get(&(server, other)).copied().unwrap_or(0);
                    self.sent += 1;
                    let letter = Letter { from: server, to: other, message: Arc::clone(&message) };
                    self.letters.insert((self.now + delay, self.sent), letter);
                }
            }
            Event::CountServers { question, .. } => {
                assert!(!self.has_heartbeat);
                let others = (0..self.worlds.len()).filter(|other| *other != server && !self.dead.contains(other));
                let members = Members::Nodes(others.map(node).collect());
                self.worlds[server].shards[shard].handle_members(question, members);
            }
            other => self.heard.push_back((server, other)),
        }
    }

    fn advance(&mut self, millis: u64) {
        for _ in 0..millis {
            self.now += 1;
            self.worlds.iter_mut().for_each(|world| world.advance(1));
            self.run();
        }
    }

    /// One WebSocket client per shard and server.
    fn clients(&mut self) -> Vec<(usize, usize, Wire, SocketKey)> {
        let mut clients = Vec::new();
        for (server, world) in self.worlds.iter_mut().enumerate() {
            for shard in 0..world.shards.len() {
                let (wire, socket) = world.joined(shard);
                clients.push((server, shard, wire, socket));
            }
        }
        clients
    }

    fn broadcast(&mut self, server: usize, shard: usize, json: &str, flags: EmitFlags) {
        self.worlds[server].shards[shard].broadcast(MAIN, "/", &Target::everyone(), event(json), flags).unwrap();
        self.run();
    }

    fn ask(&mut self, server: usize, shard: usize, timeout_ms: u64, waiter: u64) {
        let (name, everyone) = (Arc::from("/"), Target::everyone());
        let flags = EmitFlags::default();
        let shard = &mut self.worlds[server].shards[shard];
        shard.broadcast_with_ack(MAIN, &name, &everyone, event("[\"ask\"]"), flags, timeout_ms, waiter).unwrap();
        self.run();
    }

    fn fetch(&mut self, server: usize, shard: usize, timeout_ms: u64, waiter: u64) {
        let shard = &mut self.worlds[server].shards[shard];
        shard.fetch_sockets(MAIN, &Target::everyone(), EmitFlags::default(), timeout_ms, waiter);
        self.run();
    }

    fn server_side(&mut self, server: usize, shard: usize, wanted: Option<(u64, u64)>) {
        self.worlds[server].shards[shard].server_side_emit(MAIN, event("[\"hello\",1]"), wanted);
        self.run();
    }

    /// The servers that have heard a server-side event answer it with their number.
    fn answer(&mut self, but: &[usize]) -> Vec<usize> {
        let mut answered = Vec::new();
        while let Some((server, heard)) = self.heard.pop_front() {
            let Event::ServerSideEvent { namespace, from, request, packet } = heard else { panic!("{heard:?}") };
            assert_eq!(&packet.json[..], b"[\"hello\",1]");
            if !but.contains(&server) {
                answered.push(server);
                let value = packet_of(server);
                self.worlds[server].shards[0].answer_server_side(namespace, from, request.unwrap(), value);
            }
        }
        self.run();
        answered
    }

    fn answers(&mut self) -> (u64, Vec<String>, Tally) {
        let Some((_, Event::ServerSideAnswered { waiter, answers, tally })) = self.heard.pop_front() else {
            panic!("answered")
        };
        let text = |packet: Option<ClusterPacket>| String::from_utf8(packet.unwrap().json.to_vec()).unwrap();
        (waiter, answers.into_iter().map(text).collect(), tally)
    }

    fn fetched(&mut self, server: usize) -> usize {
        let Some(Heard::Fetched(_, ids)) = self.worlds[server].heard.pop() else { panic!("fetched") };
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "each once");
        ids.len()
    }

    fn is_idle(&self) -> bool {
        self.letters.is_empty() && self.heard.is_empty()
    }
}

fn packet_of(server: usize) -> Option<ClusterPacket> {
    Some(packet(&server.to_string()))
}

#[test]
fn a_broadcast_reaches_the_clients_of_all_servers_once_and_its_own_server_not_again() {
    for shards in [1, 3] {
        let mut servers = Servers::new(3, shards, false);
        let clients = servers.clients();
        servers.broadcast(1, usize::from(shards) - 1, "[\"a\",1]", EmitFlags::default());
        servers.broadcast(1, 0, "[\"b\"]", EmitFlags { local: true, ..EmitFlags::default() });
        assert_eq!(servers.published, [3], "local publishes nothing");
        for (server, _, wire, _) in clients {
            let mut heard = servers.worlds[server].take_messages(wire);
            heard.sort();
            let expected: &[&str] = if server == 1 { &["42[\"a\",1]", "42[\"b\"]"] } else { &["42[\"a\",1]"] };
            assert_eq!(heard, expected);
        }
        assert!(servers.is_idle());
    }
}

#[test]
fn broadcasts_of_one_sender_stay_in_order_on_every_shard_of_every_server() {
    let mut servers = Servers::new(3, 3, false);
    servers.delays = [((0, 1), 7), ((0, 2), 50)].into();
    let clients = servers.clients();
    for number in 0..20 {
        servers.broadcast(0, 2, &format!("[\"n\",{number}]"), EmitFlags::default());
        servers.advance(3);
    }
    servers.advance(100);
    let expected: Vec<String> = (0..20).map(|number| format!("42[\"n\",{number}]")).collect();
    for (server, _, wire, _) in clients {
        assert_eq!(servers.worlds[server].take_messages(wire), expected);
    }
}

#[test]
fn rooms_of_other_servers_are_joined_left_and_disconnected() {
    let mut servers = Servers::new(2, 3, false);
    let clients = servers.clients();
    let flags = EmitFlags::default();
    let join = Operation::Join(Arc::from([Arc::from("a"), Arc::from("b")]));
    servers.worlds[0].shards[1].operate(MAIN, &Target::everyone(), &join, flags);
    servers.run();
    servers.worlds[1].shards[2].operate(MAIN, &to("a"), &Operation::Leave(Arc::from([Arc::from("b")])), flags);
    servers.run();
    servers.worlds[0].shards[0].broadcast(MAIN, "/", &to("b"), event("[\"nobody\"]"), flags).unwrap();
    servers.worlds[0].shards[0].broadcast(MAIN, "/", &to("a"), event("[\"all\"]"), flags).unwrap();
    servers.run();
    let here = EmitFlags { local: true, ..flags };
    servers.worlds[1].shards[0].operate(MAIN, &to("a"), &Operation::Disconnect { close: false }, here);
    servers.run();
    for (server, _, wire, _) in clients {
        let expected: &[&str] = if server == 1 { &["42[\"all\"]", "41"] } else { &["42[\"all\"]"] };
        assert_eq!(servers.worlds[server].take_messages(wire), expected);
    }
}

#[test]
fn acknowledgements_come_from_all_servers() {
    for shards in [1, 3] {
        let mut servers = Servers::new(3, shards, false);
        servers.delays = [((0, 1), 5), ((1, 0), 5), ((2, 0), 90)].into();
        let clients = servers.clients();
        servers.ask(0, usize::from(shards) - 1, 5_000, 7);
        servers.advance(10);
        for (number, (server, _, wire, _)) in clients.iter().enumerate() {
            let asked = servers.worlds[*server].take_messages(*wire);
            let id = asked[0].strip_prefix("42").unwrap().strip_suffix("[\"ask\"]").unwrap();
            servers.worlds[*server].send(*wire, &text(&format!("43{id}[{number},\"second\"]")));
            servers.run();
        }
        assert!(!servers.worlds[0].heard.iter().any(|heard| matches!(heard, Heard::Gathered(..))), "one is slow");
        servers.advance(100);
        let gathered: Vec<_> =
            servers.worlds[0].heard.iter().filter(|heard| matches!(heard, Heard::Gathered(..))).collect();
        let [Heard::Gathered(7, answers, is_complete)] = gathered[..] else { panic!("{gathered:?}") };
        assert_eq!(answers.len(), clients.len());
        assert!(is_complete);
        assert_eq!(answers[0], "[0,\"second\"]", "one of this server, with all arguments");
        assert_eq!(answers[answers.len() - 1], format!("[{}]", clients.len() - 1), "of another server the first one");
        servers.advance(6_000);
        for world in &servers.worlds {
            assert!(world.shards.iter().all(ringio_core::shard::Shard::is_unasked), "nothing is remembered");
        }
    }
}

#[test]
fn a_client_of_another_server_that_never_answers_is_waited_for_until_the_time_is_over() {
    let mut servers = Servers::new(2, 1, false);
    let clients = servers.clients();
    servers.ask(0, 0, 300, 1);
    let (server, _, wire, _) = clients[0];
    servers.worlds[server].send(wire, &text("430[\"mine\"]"));
    servers.advance(299);
    assert!(!servers.worlds[0].heard.iter().any(|heard| matches!(heard, Heard::Gathered(..))));
    servers.advance(2);
    assert_eq!(servers.worlds[0].heard.pop(), Some(Heard::Gathered(1, vec!["[\"mine\"]".into()], false)));
    // Its late acknowledgement finds nobody.
    let (server, _, wire, _) = clients[1];
    servers.worlds[server].send(wire, &text("430[\"late\"]"));
    servers.run();
    assert!(servers.is_idle());
}

#[test]
fn sockets_of_all_servers_are_fetched_and_a_silent_server_is_counted() {
    for shards in [1, 3] {
        let mut servers = Servers::new(3, shards, false);
        let count = servers.clients().len();
        servers.fetch(2, usize::from(shards) - 1, 5_000, 1);
        assert_eq!(servers.fetched(2), count);
        assert_eq!(servers.worlds[2].tallies.pop(), Some(Tally { answered: 2, expected: Some(2) }));
        servers.delays = [((0, 2), 6_000)].into();
        servers.fetch(2, 0, 5_000, 2);
        servers.advance(5_000);
        assert_eq!(servers.fetched(2), count / 3 * 2);
        assert_eq!(servers.worlds[2].tallies.pop(), Some(Tally { answered: 1, expected: Some(2) }));
        servers.advance(2_000);
        assert!(servers.is_idle(), "the late answer finds nobody");
        servers.comes_twice = true;
        servers.delays.clear();
        servers.fetch(2, 0, 5_000, 3);
        assert_eq!(servers.fetched(2), count, "a second answer of the same server is not added");
    }
}

#[test]
fn servers_answer_each_other_and_never_themselves() {
    for shards in [1, 3] {
        let mut servers = Servers::new(3, shards, false);
        servers.server_side(0, usize::from(shards) - 1, Some((5_000, 9)));
        assert_eq!(servers.answer(&[]), [1, 2]);
        let (waiter, mut answers, tally) = servers.answers();
        answers.sort();
        assert_eq!((waiter, &answers[..]), (9, &["1".to_owned(), "2".to_owned()][..]));
        assert_eq!(tally, Tally { answered: 2, expected: Some(2) });

        servers.server_side(1, 0, Some((5_000, 10)));
        assert_eq!(servers.answer(&[2]), [0], "2 has no listener");
        servers.advance(4_999);
        assert!(servers.is_idle());
        servers.advance(1);
        assert_eq!(servers.answers(), (10, vec!["0".to_owned()], Tally { answered: 1, expected: Some(2) }));

        servers.server_side(1, 0, None);
        assert_eq!(servers.heard.len(), 2);
        servers.heard.clear();
    }
}

#[test]
fn alone_a_server_has_its_answers_at_once() {
    for has_heartbeat in [false, true] {
        let mut servers = Servers::new(1, 3, has_heartbeat);
        servers.server_side(0, 2, Some((5_000, 1)));
        assert_eq!(servers.answers(), (1, vec![], Tally { answered: 0, expected: Some(0) }));
        servers.worlds[0].shards[1].count_servers(MAIN, 5_000, 2);
        servers.run();
        assert!(matches!(servers.heard.pop_front(), Some((0, Event::ServersCounted { waiter: 2, count: Some(1) }))));
        servers.ask(0, 1, 5_000, 3);
        assert_eq!(servers.worlds[0].heard.pop(), Some(Heard::Gathered(3, vec![], true)));
        servers.fetch(0, 1, 5_000, 4);
        assert_eq!(servers.fetched(0), 0);
    }
}

#[test]
fn a_server_that_closes_while_it_is_asked_is_waited_for_no_longer() {
    for has_heartbeat in [false, true] {
        let mut servers = Servers::new(3, 3, has_heartbeat);
        servers.server_side(0, 2, Some((5_000, 1)));
        assert_eq!(servers.answer(&[1]), [2]);
        assert!(servers.is_idle());
        servers.worlds[1].shards[0].close_all();
        servers.run();
        assert_eq!(servers.answers(), (1, vec!["2".to_owned()], Tally { answered: 1, expected: Some(1) }));
    }
}

#[test]
fn by_heartbeats_a_server_is_known_once_it_has_joined_and_until_it_has_been_silent_too_long() {
    for shards in [1, 3] {
        let mut servers = Servers::new(3, shards, true);
        let count = |servers: &mut Servers, server: usize| {
            let last = servers.worlds[server].shards.len() - 1;
            servers.worlds[server].shards[last].count_servers(MAIN, 5_000, 1);
            servers.run();
            let Some((_, Event::ServersCounted { count: Some(count), .. })) = servers.heard.pop_front() else {
                panic!("counted")
            };
            count
        };
        for server in 0..3 {
            assert_eq!(count(&mut servers, server), 3, "seen from {server}");
        }
        servers.published.clear();
        servers.advance(30_000);
        assert_eq!(count(&mut servers, 0), 3, "their heartbeats keep them");
        assert_eq!(servers.published, [2; 18], "one each per five seconds");

        // A slow one is still there: its messages come, only late.
        servers.delays = [((2, 0), 4_000)].into();
        servers.advance(20_000);
        assert_eq!(count(&mut servers, 0), 3);
        servers.fetch(0, 0, 5_000, 5);
        servers.advance(4_000);
        assert_eq!(servers.worlds[0].tallies.pop(), Some(Tally { answered: 2, expected: Some(2) }));

        // A dead one is dropped, and with it what waits for it.
        servers.delays.clear();
        servers.dead.insert(2);
        servers.server_side(0, usize::from(shards) - 1, Some((60_000, 8)));
        assert_eq!(servers.answer(&[]), [1]);
        servers.advance(9_000);
        assert!(servers.is_idle());
        servers.advance(3_000);
        assert_eq!(servers.answers(), (8, vec!["1".to_owned()], Tally { answered: 1, expected: Some(1) }));
        assert_eq!(count(&mut servers, 0), 2);

        // It comes back to life.
        servers.dead.clear();
        servers.advance(5_000);
        assert_eq!(count(&mut servers, 0), 3);
    }
}

/// Found missing by the simulator: with heartbeats nobody could tell that nothing was left.
#[test]
fn a_server_with_heartbeats_is_vacant_when_nobody_is_there_and_its_beat_ends_with_it() {
    let mut servers = Servers::new(2, 3, true);
    servers.advance(12_000);
    let is_vacant = |servers: &Servers| {
        servers.worlds.iter().flat_map(|world| &world.shards).all(ringio_core::shard::Shard::is_vacant)
    };
    assert!(is_vacant(&servers), "the beat is nobody's");
    servers.worlds[0].shards.iter_mut().for_each(ringio_core::shard::Shard::close_all);
    servers.run();
    assert!(is_vacant(&servers));
    let left: Vec<_> = servers.worlds[0].shards.iter().map(ringio_core::shard::Shard::next_deadline).collect();
    assert_eq!(left, [None, None, None], "a server that has ended says nothing any more");
}

#[test]
fn what_nobody_asked_for_changes_nothing() {
    let mut servers = Servers::new(1, 3, false);
    let shard = &mut servers.worlds[0].shards[0];
    let name: Arc<str> = Arc::from("/");
    for id in ["", "0000000000000000", "ffffffffffffffff", "a-Z_09", "9e3779b97f4a7c15", "1e3779b97f4a7c15"] {
        let request = RequestId::new(id);
        let sockets = Vec::new();
        for message in [
            ClusterMessage::FetchSocketsResponse { request: request.clone(), sockets },
            ClusterMessage::ServerSideEmitResponse { request: request.clone(), answer: None },
            ClusterMessage::BroadcastClientCount { request: request.clone(), count: u64::MAX },
            ClusterMessage::BroadcastAck { request: request.clone(), answer: Some(packet("1")) },
        ] {
            shard.handle_cluster(&node(1), MAIN, &name, &Arc::new(message));
        }
    }
    servers.run();
    assert!(servers.is_idle());
    assert!(servers.worlds[0].shards.iter().all(ringio_core::shard::Shard::is_vacant));
}

/// Another server asks and asks before the other shard has answered anything.
#[test]
fn no_more_questions_of_other_servers_are_open_than_may_be() {
    let mut servers = Servers::new(1, 2, false);
    let name: Arc<str> = Arc::from("/");
    for (is_fetch, answer) in [(true, 8), (false, 11)] {
        for _ in 0..2 {
            for number in 0..CLUSTER_QUESTIONS_MAX + 10 {
                let request = RequestId::new(&format!("{number:016x}"));
                let target = to("nobody");
                let message = if is_fetch {
                    ClusterMessage::FetchSockets { target, request }
                } else {
                    let (packet, flags) = (packet("[\"ask\"]"), EmitFlags::default());
                    ClusterMessage::Broadcast { packet, target, flags, timeout_ms: Some(1_000), request: Some(request) }
                };
                servers.worlds[0].shards[0].handle_cluster(&node(1), MAIN, &name, &Arc::new(message));
            }
            servers.run();
            let answers = servers.published.drain(..).filter(|number| *number == answer).count();
            assert_eq!(answers, CLUSTER_QUESTIONS_MAX, "fetch: {is_fetch}");
            assert!(
                servers.worlds[0].shards.iter().all(ringio_core::shard::Shard::is_unasked),
                "and there is room again"
            );
        }
    }
}

/// However long the other server would have it wait, and though nobody here answers.
#[test]
fn a_question_of_another_server_ends_with_its_time() {
    let name: Arc<str> = Arc::from("/");
    let request = || RequestId::new("00000000000000aa");
    for (timeout_ms, time) in
        [(Some(1_000), 1_000), (None, FETCH_DEADLINE_MS), (Some(u64::MAX), CLUSTER_TIMEOUT_MS_MAX)]
    {
        let mut servers = Servers::new(1, 2, false);
        servers.clients();
        let (packet, flags, target) = (packet("[\"ask\"]"), EmitFlags::default(), Target::everyone());
        let message = ClusterMessage::Broadcast { packet, target, flags, timeout_ms, request: Some(request()) };
        let world = &mut servers.worlds[0];
        world.shards[0].handle_cluster(&node(1), MAIN, &name, &Arc::new(message));
        world.run();
        let (now, shard) = (world.now, &mut world.shards[0]);
        shard.handle_deadlines(now.after(time - 1));
        assert!(!shard.is_unasked(), "{timeout_ms:?}: the clients are asked");
        shard.handle_deadlines(now.after(time));
        assert!(shard.is_unasked(), "{timeout_ms:?}");
    }
    // The other shard does not get to answer.
    let mut servers = Servers::new(1, 2, false);
    let message = ClusterMessage::FetchSockets { target: Target::everyone(), request: request() };
    let (now, shard) = (servers.worlds[0].now, &mut servers.worlds[0].shards[0]);
    shard.handle_cluster(&node(1), MAIN, &name, &Arc::new(message));
    shard.handle_deadlines(now.after(FETCH_DEADLINE_MS - 1));
    assert!(!shard.is_unasked());
    shard.handle_deadlines(now.after(FETCH_DEADLINE_MS));
    assert!(shard.is_unasked());
}
