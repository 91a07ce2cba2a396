//! Which sockets a broadcast reaches.
//!
//! `union(rooms) - union(except)`, each socket once, slots ascending; no rooms means everyone. The sender is left out
//! by naming its id in `except`: a socket's id is the name of a room of one, which is looked up and never stored.
//!
//! ```text
//! only own ids, no stored room    their slots                                        O(1) each
//! one room, or everyone           its members, copied as they are
//! few sockets in several rooms    gathered, sorted, doubles removed
//! otherwise                       one pass over the words of each room in a bitset
//! minus own ids                   each found by binary search, or its bit cleared
//! minus few                       each receiver asked against the excepted rooms
//! ```
//! Cost: one hash per name, then at most one pass over the words of each room (64 sockets a word) and one over the
//! receivers. A room of few without `except` touches no bitset. Nothing is allocated once the buffers have met the
//! largest broadcast; they hold 4 bytes and one bit per socket of it.

use super::Rooms;
use super::members::Members;
use crate::base::bit_set::BitSet;
use crate::base::id::RoomId;
use alloc::sync::Arc;
use alloc::vec::Vec;
use smallvec::SmallVec;

/// Up to this many receivers of several rooms are sorted; more are united in a bitset.
const SORTED_MAX: usize = 128;
/// Up to this many own ids are taken out of the list one by one.
const OWN_EXCEPT_MAX: usize = 4;

/// Whom a broadcast means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Rooms by name, own-id rooms included; none means everyone.
    pub rooms: SmallVec<[Arc<str>; 1]>,
    /// Rooms whose members are left out, own-id rooms included.
    pub except: SmallVec<[Arc<str>; 1]>,
}

impl Target {
    /// Every socket of the namespace.
    #[must_use]
    pub fn everyone() -> Self {
        Self::default()
    }
}

/// Whom it turned out to be, in buffers that are used again.
#[derive(Debug, Default)]
pub struct Selection {
    slots: Vec<u32>,
    set: BitSet,
    rooms: Resolved,
    except: Resolved,
}

/// What names stand for.
#[derive(Debug, Default)]
struct Resolved {
    ids: Vec<RoomId>,
    own: Vec<u32>,
}

impl Resolved {
    fn resolve(&mut self, names: &[Arc<str>], rooms: &Rooms, own_slot: impl Fn(&str) -> Option<u32>) {
        self.ids.clear();
        self.own.clear();
        for name in names {
            self.ids.extend(rooms.names.find(name));
            self.own.extend(own_slot(name));
        }
    }

    fn members<'a>(&'a self, rooms: &'a Rooms) -> impl Iterator<Item = &'a Members> {
        self.ids.iter().map(|id| rooms.members_of(*id))
    }

    fn contains(&self, slot: u32, rooms: &Rooms) -> bool {
        self.own.contains(&slot) || self.members(rooms).any(|members| members.contains(slot))
    }
}

impl Selection {
    /// The selected slots, ascending.
    #[must_use]
    pub fn slots(&self) -> &[u32] {
        &self.slots
    }

    /// The selected slots, ascending.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = u32> + '_ {
        self.slots.iter().copied()
    }

    /// How many sockets are selected.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether nobody is selected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

/// Selects the sockets that `target` reaches into `selection`. `everyone` are all connected sockets; `own_slot` is the
/// slot of the connected socket whose id the name is.
pub fn select(
    rooms: &Rooms,
    everyone: &Members,
    target: &Target,
    own_slot: impl Fn(&str) -> Option<u32>,
    selection: &mut Selection,
) {
    let Selection { slots, set, rooms: included, except } = selection;
    included.resolve(&target.rooms, rooms, &own_slot);
    except.resolve(&target.except, rooms, &own_slot);
    slots.clear();

    let everyone = target.rooms.is_empty().then_some(everyone);
    let sources = || everyone.into_iter().chain(included.members(rooms));
    let source_count = sources().count();
    let slot_count = sources().map(Members::len).sum::<usize>() + included.own.len();

    let is_list = source_count + included.own.len() <= 1 || slot_count <= SORTED_MAX;
    let except_is_few = slot_count <= SORTED_MAX || (except.ids.is_empty() && except.own.len() <= OWN_EXCEPT_MAX);
    if is_list && except_is_few {
        sources().for_each(|members| members.append_to(slots));
        slots.extend_from_slice(&included.own);
        if source_count + included.own.len() > 1 {
            slots.sort_unstable();
            #[cfg(ringio_planted)]
            if crate::base::planted::is(crate::base::planted::Bug::DoubleDelivery) {
                return;
            }
            slots.dedup();
        }
        if !except.ids.is_empty() {
            slots.retain(|slot| !except.contains(*slot, rooms));
        } else {
            for own in &except.own {
                if let Ok(at) = slots.binary_search(own) {
                    slots.remove(at);
                }
            }
        }
    } else {
        set.clear();
        sources().for_each(|members| members.union_into(set));
        included.own.iter().for_each(|slot| {
            set.insert(*slot);
        });
        except.members(rooms).for_each(|members| members.subtract_from(set));
        set.subtract_each(except.own.iter().copied());
        slots.extend(set.iter());
    }
}

#[cfg(test)]
mod tests {
    use super::super::Memberships;
    use super::*;
    use alloc::collections::{BTreeMap, BTreeSet};
    use alloc::format;
    use alloc::string::String;
    use core::cell::Cell;
    use proptest::prelude::*;

    /// A namespace with sockets whose ids are `sid <slot>`.
    struct World {
        rooms: Rooms,
        everyone: Members,
        model: BTreeMap<String, BTreeSet<u32>>,
        selection: Selection,
    }

    impl World {
        fn new(everyone: impl IntoIterator<Item = u32>) -> Self {
            let mut members = Members::default();
            everyone.into_iter().for_each(|slot| {
                members.insert(slot);
            });
            Self { rooms: Rooms::new(1), everyone: members, model: BTreeMap::new(), selection: Selection::default() }
        }

        fn join(&mut self, name: &str, slots: impl IntoIterator<Item = u32>) {
            for slot in slots {
                self.rooms.join(slot, &mut Memberships::default(), name);
                self.model.entry(name.into()).or_default().insert(slot);
            }
        }

        fn own_slot(&self, name: &str) -> Option<u32> {
            let slot = name.strip_prefix("sid ")?.parse().ok()?;
            self.everyone.contains(slot).then_some(slot)
        }

        fn select(&mut self, rooms: &[&str], except: &[&str]) -> &[u32] {
            let mut selection = core::mem::take(&mut self.selection);
            let own_slot = |name: &str| self.own_slot(name);
            select(&self.rooms, &self.everyone, &target(rooms, except), own_slot, &mut selection);
            self.selection = selection;
            self.selection.slots()
        }

        /// The sentence `union(rooms) - union(except)` as it stands.
        fn expected(&self, rooms: &[&str], except: &[&str]) -> BTreeSet<u32> {
            let union = |names: &[&str]| -> BTreeSet<u32> {
                let stored = names.iter().filter_map(|name| self.model.get(*name)).flatten().copied();
                stored.chain(names.iter().filter_map(|name| self.own_slot(name))).collect()
            };
            let meant = if rooms.is_empty() { self.everyone.iter().collect() } else { union(rooms) };
            &meant - &union(except)
        }
    }

    fn target(rooms: &[&str], except: &[&str]) -> Target {
        let names = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
        Target { rooms: names(rooms), except: names(except) }
    }

    #[test]
    fn a_target_goes_to_other_shards() {
        fn is_send<T: Send + Clone + Default + 'static>() {}
        is_send::<Target>();
        assert_eq!(Target::everyone(), target(&[], &[]));
    }

    #[test]
    fn a_socket_in_several_rooms_is_reached_once_and_an_excepted_one_never() {
        let mut world = World::new(0..10);
        world.join("a", [1, 2, 3]);
        world.join("b", [3, 4]);
        world.join("c", [2, 4, 9]);
        assert_eq!(world.select(&["b", "a", "a"], &[]), [1, 2, 3, 4]);
        assert_eq!(world.select(&["a", "b"], &["c"]), [1, 3]);
        assert_eq!(world.select(&[], &["a", "c"]), [0, 5, 6, 7, 8]);
        assert_eq!(world.select(&["a"], &["sid 3"]), [1, 2]);
        assert_eq!(world.select(&["a"], &["a"]), []);
    }

    #[test]
    fn rooms_that_do_not_exist_reach_nobody_and_not_everyone() {
        let mut world = World::new(0..10);
        assert_eq!(world.select(&["nowhere"], &[]), []);
        assert_eq!(world.select(&["sid 99"], &[]), [], "nor does the id of a socket that is gone");
        assert_eq!(world.select(&[], &["nowhere", "sid 99"]).len(), 10);
    }

    #[test]
    fn an_own_id_is_a_room_of_one_and_others_may_join_it() {
        let mut world = World::new(0..10);
        assert_eq!(world.select(&["sid 5"], &[]), [5]);
        world.join("sid 5", [7, 2]);
        assert_eq!(world.select(&["sid 5"], &[]), [2, 5, 7]);
        assert_eq!(world.select(&[], &["sid 5"]), [0, 1, 3, 4, 6, 8, 9]);
        assert_eq!(world.select(&["sid 5"], &["sid 5"]), []);
    }

    #[test]
    fn few_receivers_of_one_room_touch_no_bitset() {
        let mut world = World::new(0..10_000);
        world.join("few", [9_999, 3, 70]);
        assert_eq!(world.select(&["few"], &[]), [3, 70, 9_999]);
        assert_eq!(world.select(&["few", "sid 8"], &["sid 3"]), [8, 70, 9_999]);
        assert_eq!(world.select(&[], &["sid 3"]).len(), 9_999);
        assert_eq!(world.selection.set, BitSet::new());
        assert_eq!(world.select(&[], &["few"]).len(), 9_997);
        assert_ne!(world.selection.set, BitSet::new(), "the bitset is what the other way uses");
    }

    #[test]
    fn every_name_is_looked_up_once() {
        let mut world = World::new(0..10_000);
        world.join("many", 0..9_000);
        let count = Cell::new(0);
        let own_slot = |_: &str| {
            count.set(count.get() + 1);
            None
        };
        let mut selection = Selection::default();
        select(&world.rooms, &world.everyone, &target(&["many", "b"], &["c"]), own_slot, &mut selection);
        assert_eq!((count.get(), selection.len()), (3, 9_000));
    }

    #[test]
    fn the_buffers_keep_what_the_largest_broadcast_needed() {
        let mut world = World::new(0..10_000);
        world.join("odd", (0..5_000).map(|number| number * 2 + 1));
        world.join("low", 0..6_000);
        world.join("hundred", 0..100);
        world.join("next hundred", 100..200);
        let everything: (&[&str], &[&str]) = (&["odd", "low", "sid 0"], &["hundred", "sid 1"]);
        let allocated = |world: &World| (world.selection.slots.capacity(), world.selection.set.allocated_bytes());
        world.select(everything.0, everything.1);
        world.select(&[], &[]);
        let first = allocated(&world);
        assert!(first.0 >= 10_000 && first.1 >= 10_000 / 8);
        for (rooms, except) in [everything, (&["hundred", "next hundred"], &[]), (&["hundred"], &["odd"]), (&[], &[])] {
            world.select(rooms, except);
            assert_eq!(allocated(&world), first, "after {rooms:?} without {except:?}");
        }
    }

    fn name() -> impl Strategy<Value = String> {
        prop_oneof![
            6 => (0..6_u8).prop_map(|room| format!("room {room}")),
            3 => (0..1_200_u32).prop_map(|slot| format!("sid {slot}")),
            1 => Just(String::from("nowhere")),
        ]
    }

    /// Slots of a room: a handful, some, a crowd.
    fn slots() -> impl Strategy<Value = BTreeSet<u32>> {
        prop_oneof![
            prop::collection::btree_set(0..1_000_u32, 0..6),
            prop::collection::btree_set(0..1_000_u32, 0..100),
            (0..900_u32, 0..700_u32).prop_map(|(from, count)| (from..(from + count).min(1_000)).collect()),
        ]
    }

    proptest! {
        /// Compared with `union(rooms) - union(except)` over sorted sets; the same buffers serve all targets.
        #[test]
        fn a_selection_is_what_the_sentence_says(
            everyone in slots(),
            rooms in prop::collection::vec(slots(), 0..6),
            own_room in (0..1_000_u32, slots()),
            targets in prop::collection::vec(
                (prop::collection::vec(name(), 0..4), prop::collection::vec(name(), 0..7)), 1..20),
        ) {
            let mut world = World::new(everyone);
            for (number, slots) in rooms.into_iter().enumerate() {
                world.join(&format!("room {number}"), slots);
            }
            world.join(&format!("sid {}", own_room.0), own_room.1);
            for (rooms, except) in &targets {
                let rooms: Vec<&str> = rooms.iter().map(String::as_str).collect();
                let except: Vec<&str> = except.iter().map(String::as_str).collect();
                let expected = world.expected(&rooms, &except);
                prop_assert!(world.select(&rooms, &except).iter().eq(&expected), "{rooms:?} but {except:?}");
                prop_assert!(world.selection.iter().eq(expected.iter().copied()));
                prop_assert_eq!(world.selection.len(), expected.len());
                prop_assert_eq!(world.selection.is_empty(), expected.is_empty());
            }
        }
    }
}
