//! What may be given where a room, or several, are meant.

use std::borrow::Cow;
use std::sync::Arc;

/// One room or several: `"a"`, a `String`, `["a", "b"]`, a `Vec`, a slice. A socket's id is the room of that socket.
///
/// ```
/// use ringio::IntoRooms;
///
/// let mut all = Vec::new();
/// ["a", "b"].for_each_room(&mut |room| all.push(room.to_owned()));
/// String::from("c").for_each_room(&mut |room| all.push(room.to_owned()));
/// assert_eq!(all, ["a", "b", "c"]);
/// ```
pub trait IntoRooms {
    /// Calls `each` with every name.
    fn for_each_room(self, each: &mut dyn FnMut(&str));
}

impl IntoRooms for &str {
    fn for_each_room(self, each: &mut dyn FnMut(&str)) {
        each(self);
    }
}

macro_rules! one_room {
    ($($name:ty),*) => {
        $(impl IntoRooms for $name {
            fn for_each_room(self, each: &mut dyn FnMut(&str)) {
                each(&self);
            }
        })*
    };
}

one_room!(String, &String, &&str, Arc<str>, &Arc<str>, Box<str>, Cow<'_, str>);

macro_rules! several_rooms {
    ($($list:ty),*) => {
        $(impl<S: AsRef<str>> IntoRooms for $list {
            fn for_each_room(self, each: &mut dyn FnMut(&str)) {
                for room in self.iter() {
                    each(room.as_ref());
                }
            }
        })*
    };
}

several_rooms!(Vec<S>, &Vec<S>, &[S]);

impl<S: AsRef<str>, const N: usize> IntoRooms for [S; N] {
    fn for_each_room(self, each: &mut dyn FnMut(&str)) {
        self.as_slice().for_each_room(each);
    }
}

impl<S: AsRef<str>, const N: usize> IntoRooms for &[S; N] {
    fn for_each_room(self, each: &mut dyn FnMut(&str)) {
        self.as_slice().for_each_room(each);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(rooms: impl IntoRooms) -> Vec<String> {
        let mut names = Vec::new();
        rooms.for_each_room(&mut |name| names.push(name.to_owned()));
        names
    }

    #[test]
    fn one_or_several_in_their_order() {
        assert_eq!(names("a"), ["a"]);
        assert_eq!(names(String::from("a")), ["a"]);
        assert_eq!(names(["b", "a"]), ["b", "a"]);
        assert_eq!(names(["b", "a"].as_slice()), ["b", "a"]);
        assert_eq!(names(vec![String::from("x"), String::from("y")]), ["x", "y"]);
        assert_eq!(names(Vec::<&str>::new()), Vec::<String>::new());
    }
}
