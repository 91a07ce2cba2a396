// What waits in a Node server until a test says so, where a time would be a race with the machine.

const gates = new Map();

/** A gate by its name: closed until somebody opens it, and open from then on. */
function gate(name) {
  if (!gates.has(name)) {
    const made = {};
    made.opened = new Promise((resolve) => (made.open = resolve));
    gates.set(name, made);
  }
  return gates.get(name);
}

/** Resolves when the gate is open. */
export const pass = (name) => gate(name).opened;

/** `release`(name, ack) opens a gate. */
export function releases(socket) {
  socket.on("release", (name, reply) => (gate(name).open(), reply()));
}
