//! A connection on its way to another shard is the kernel's until that has said where it is: whatever happens meanwhile, it is
//! neither closed here, where its number may soon be another one's, nor lost on the way.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use ringio_core::base::id::FileId;
use ringio_core::base::time::Time;
use ringio_core::door::{Output, PeerMessage};
use ringio_core::options::Options;
use ringio_core::shard::Shard;
use world::World;

fn outputs(shard: &mut Shard) -> Vec<Output> {
    std::iter::from_fn(|| shard.poll_output()).collect()
}

#[test]
fn a_connection_that_ends_while_it_moves_is_handed_over_all_the_same() {
    let mut world = World::new(2, Options::default());
    // A poll for a session of shard 1, whose sids say so, arrives at shard 0.
    let opens = world.connect(1);
    world.send(opens, b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n\r\n");
    let text = world.take_text(opens);
    let sid = text.split_once("\"sid\":\"").unwrap().1.get(..20).unwrap();
    let shard = &mut world.shards[0];
    let file = FileId(77);
    let key = shard.handle_accepted(Time::ZERO, file, None, false);
    let mut poll = format!("GET /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\n\r\n").into_bytes();
    shard.handle_received(Time::ZERO, key, &mut poll);
    assert!(shard.poll_event().is_none());
    assert!(matches!(outputs(shard)[..], [Output::Transfer { .. }]));
    // The peer goes, and time goes by, before the kernel has moved it.
    shard.handle_ended(Time::ZERO, key);
    shard.handle_deadlines(Time::from_millis(600_000));
    assert!(shard.poll_event().is_none());
    assert!(outputs(shard).is_empty(), "nothing is closed here");
    assert_eq!(shard.connection_count(), 1);
    shard.handle_transferred(Time::from_millis(600_000), key, Some(FileId(5)));
    assert_eq!(shard.connection_count(), 0);
    let Some((_, PeerMessage::Moved { file: FileId(5), .. })) = shard.poll_peer_message() else {
        panic!("the other shard is not told of the file that is now its own")
    };
    assert!(shard.poll_peer_message().is_none() && outputs(shard).is_empty());
}
