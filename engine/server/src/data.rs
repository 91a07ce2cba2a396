//! What the application attaches to a socket: data that travels, extensions that stay.
//!
//! *Data* is JSON by name, as `socket.data` in Node: `fetch_sockets` on any shard or server sees a copy. *Extensions*
//! are Rust values by type, for handlers of this socket only; nothing is copied or written as JSON. Neither costs
//! memory until used; both end with the socket.

use crate::application::App;
use crate::socket::Socket;
use ringio_core::base::id::SocketKey;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::any::{Any, TypeId};
use std::rc::Rc;

/// The data of a socket. Changes are visible at once on this shard, and to others when they fetch the socket.
///
/// After the socket has left, writing does nothing and reading finds nothing.
///
/// ```no_run
/// # fn remember(socket: &ringio::Socket) -> Result<(), serde_json::Error> {
/// socket.data().insert("username", "alice")?; // any server's fetch_sockets shows it
/// assert_eq!(socket.data().get::<String>("username").as_deref(), Some("alice"));
/// println!("{}", socket.data().to_json());
/// socket.data().remove("username");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SocketData<'a> {
    pub(crate) socket: &'a Socket,
}

impl SocketData<'_> {
    /// Sets the value of `key`.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub fn insert(&self, key: impl Into<String>, value: &(impl Serialize + ?Sized)) -> Result<(), serde_json::Error> {
        let value = serde_json::to_value(value)?;
        self.socket.app().sockets.change(self.socket.key(), |local| local.data.insert(key.into(), value));
        Ok(())
    }

    /// The value of `key` as a `T`; None if there is none or it is no `T`.
    #[must_use]
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let value = self.socket.app().sockets.look(self.socket.key(), |local| local.data.get(key).cloned());
        serde_json::from_value(value??).ok()
    }

    /// Removes the value of `key` and returns it.
    pub fn remove(&self, key: &str) -> Option<Value> {
        self.socket.app().sockets.look(self.socket.key(), |local| local.data.remove(key))?
    }

    /// Everything as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let data = self.socket.app().sockets.look(self.socket.key(), |local| local.data.clone());
        Value::Object(data.unwrap_or_default())
    }
}

/// The data of a socket as JSON; empty if there is none.
pub(crate) fn to_json(app: &App, socket: SocketKey) -> Vec<u8> {
    let json = app.sockets.look(socket, |local| {
        if local.data.is_empty() { Vec::new() } else { serde_json::to_vec(&local.data).unwrap_or_default() }
    });
    json.unwrap_or_default()
}

/// The extensions of a socket: at most one value of each type.
///
/// Values need not be `Send`. To change one in place keep it in a `Cell`, `RefCell` or `Rc<RefCell<..>>`.
///
/// ```no_run
/// #[derive(Clone)]
/// struct User {
///     id: u64,
/// }
///
/// # fn remember(socket: &ringio::Socket) {
/// let extensions = socket.extensions();
/// extensions.insert(User { id: 7 }); // handlers may ask for Extension<User>
/// assert_eq!(extensions.get::<User>().map(|user| user.id), Some(7));
/// extensions.remove::<User>();
/// assert!(!extensions.contains::<User>());
/// # }
/// ```
#[derive(Debug)]
pub struct Extensions<'a> {
    pub(crate) socket: &'a Socket,
}

impl Extensions<'_> {
    /// Sets the value of type `T` and returns the one before.
    pub fn insert<T: 'static>(&self, value: T) -> Option<T> {
        let value: Rc<dyn Any> = Rc::new(value);
        let (sockets, id) = (&self.socket.app().sockets, TypeId::of::<T>());
        let before = sockets.change(self.socket.key(), |local| local.extensions.insert(id, value));
        owned(before??)
    }

    /// A clone of the value of type `T`.
    #[must_use]
    pub fn get<T: Clone + 'static>(&self) -> Option<T> {
        // Counted while it is cloned: `clone` is code of the user and may change the extensions itself.
        self.find::<T>()?.downcast_ref::<T>().cloned()
    }

    /// Whether there is a value of type `T`.
    #[must_use]
    pub fn contains<T: 'static>(&self) -> bool {
        self.find::<T>().is_some()
    }

    /// Removes the value of type `T` and returns it.
    pub fn remove<T: 'static>(&self) -> Option<T> {
        let (sockets, id) = (&self.socket.app().sockets, TypeId::of::<T>());
        let removed = sockets.look(self.socket.key(), |local| local.extensions.remove(id));
        owned(removed??)
    }

    fn find<T: 'static>(&self) -> Option<Rc<dyn Any>> {
        let (sockets, id) = (&self.socket.app().sockets, TypeId::of::<T>());
        sockets.look(self.socket.key(), |local| local.extensions.find(id).map(Rc::clone))?
    }
}

/// The value itself; None while [`Extensions::get`] further up the stack is cloning it.
fn owned<T: 'static>(value: Rc<dyn Any>) -> Option<T> {
    value.downcast().ok().and_then(Rc::into_inner)
}
