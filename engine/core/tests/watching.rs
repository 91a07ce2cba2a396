//! Rooms of a whole server: created once and deleted once, whatever the shards overtake each other.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use ringio_core::base::id::NamespaceId;
use ringio_core::options::Options;
use ringio_core::room::census::RoomChange;
use std::collections::BTreeMap;
use world::{World, text};

const MAIN: NamespaceId = NamespaceId(0);

/// The changes since the last question in words; ids by the names given.
fn heard(world: &mut World, names: &BTreeMap<String, &str>) -> Vec<String> {
    let name = |text: &str| names.get(text).map_or_else(|| text.to_owned(), |name| (*name).to_owned());
    let told = std::mem::take(&mut world.rooms_heard);
    told.into_iter()
        .map(|change| match change {
            RoomChange::Created { room } => format!("+{}", name(&room)),
            RoomChange::Joined { room, socket } => format!("{}>{}", name(socket.as_str()), name(&room)),
            RoomChange::Left { room, socket } => format!("{}<{}", name(socket.as_str()), name(&room)),
            RoomChange::Deleted { room } => format!("-{}", name(&room)),
        })
        .collect()
}

fn watch(world: &mut World) {
    world.shards.iter_mut().for_each(|shard| shard.watch_rooms(MAIN));
    world.run();
}

#[test]
fn a_socket_joins_its_own_room_first_and_leaves_all_in_the_order_it_joined() {
    for shard_count in [1, 3] {
        let mut world = World::new(shard_count, Options::default());
        watch(&mut world);
        let last = usize::from(shard_count) - 1;
        let (wire, socket) = world.joined(last);
        let names = BTreeMap::from([(world.shards[last].socket_id(socket).unwrap().to_string(), "anna")]);
        assert_eq!(heard(&mut world, &names), ["+anna", "anna>anna"]);
        for room in ["b", "a", "b"] {
            world.shards[last].join(socket, room);
        }
        world.shards[last].leave(socket, "none");
        world.run();
        assert_eq!(heard(&mut world, &names), ["+b", "anna>b", "+a", "anna>a"]);
        world.shards[last].leave(socket, "b");
        world.shards[last].join(socket, "b");
        world.run();
        assert_eq!(heard(&mut world, &names), ["anna<b", "-b", "+b", "anna>b"]);
        world.send(wire, &text("41"));
        let left = ["anna<anna", "-anna", "anna<a", "-a", "anna<b", "-b"];
        assert_eq!(heard(&mut world, &names), left);
    }
}

#[test]
fn a_room_with_members_on_several_shards_exists_once() {
    let mut world = World::new(3, Options::default());
    let sockets: Vec<_> = (0..3).map(|shard| world.joined(shard)).collect();
    let names: BTreeMap<String, &str> = sockets
        .iter()
        .enumerate()
        .map(|(shard, (_, socket))| {
            (world.shards[shard].socket_id(*socket).unwrap().to_string(), ["anna", "ben", "cleo"][shard])
        })
        .collect();
    // Before anybody watches, nothing is counted; what was there is not created again.
    world.shards[1].join(sockets[1].1, "old");
    world.run();
    watch(&mut world);
    assert!(world.rooms_heard.is_empty());
    world.shards[2].join(sockets[2].1, "old");
    world.run();
    for (shard, (_, socket)) in sockets.iter().enumerate() {
        world.shards[shard].join(*socket, "new");
        world.run();
    }
    assert_eq!(heard(&mut world, &names), ["cleo>old", "+new", "anna>new", "ben>new", "cleo>new"]);
    for (shard, (wire, _)) in sockets.iter().enumerate() {
        world.end(*wire);
        let told = heard(&mut world, &names);
        assert_eq!(told.contains(&"-new".to_owned()), shard == 2, "deleted with the last one: {told:?}");
    }
}

#[test]
fn what_happens_while_the_watching_begins_is_told_once() {
    let mut world = World::new(3, Options::default());
    let (_, early) = world.joined(1);
    let (_, late) = world.joined(2);
    world.shards[1].join(early, "a");
    // One shard is slow to say what it has.
    world.slow = [(2, 0)].into();
    watch(&mut world);
    world.shards[1].join(early, "b");
    world.run();
    world.shards[2].join(late, "b");
    world.run();
    assert!(world.rooms_heard.is_empty(), "the slow shard may have members of b");
    world.release();
    let told = heard(&mut world, &BTreeMap::new());
    assert_eq!(told.iter().filter(|change| *change == "+b").count(), 1, "{told:?}");
    assert_eq!(told.len(), 3, "{told:?}");
}
