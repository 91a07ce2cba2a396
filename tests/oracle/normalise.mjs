// Makes two records of one script comparable: names for ids, numbers for what a server counts in its own way.
//
// Only what cannot be equal is replaced here (ids, times, counters). Whatever else differs on purpose is in
// `differences.mjs`, one by one.

import { parseMessage } from "./packets.mjs";

/** Headers that say nothing about the protocol: the time of day. */
const HEADERS_ASIDE = new Set(["date"]);

/** The record of `play` as `{ steps: [{ "client 0 ws": [entry, ...] }, ...], log: { socket: [entry, ...] }, isLeaking }`. */
export function normalise({ steps, log, names, isLeaking }, script) {
  const rename = renamer(names);
  const counters = new Map();
  const clean = steps.map((entries) => {
    const channels = {};
    for (const { client, channel, ...entry } of entries) {
      const counter = counters.get(client) ?? new Counter();
      counters.set(client, counter);
      const key = `client ${client} ${channel}`;
      (channels[key] ??= []).push(cleanEntry(entry, rename, counter, script.suite === "oracle-recovery"));
    }
    return channels;
  });
  const heard = {};
  for (const [id, ...what] of log) (heard[rename(id)] ??= []).push(JSON.parse(rename(JSON.stringify(withoutOffset(sorted(what))))));
  return { steps: clean, log: anonymous(heard), isLeaking };
}

function cleanEntry(entry, rename, counter, hasOffsets) {
  const clean = { ...entry };
  if (entry.headers) {
    clean.headers = {};
    for (const name of Object.keys(entry.headers).sort()) {
      if (!HEADERS_ASIDE.has(name)) clean.headers[name] = rename(entry.headers[name]);
    }
    // Parameters of an extension have no order.
    const extension = clean.headers["sec-websocket-extensions"]?.split("; ");
    if (extension) clean.headers["sec-websocket-extensions"] = [extension[0], ...extension.slice(1).sort()].join("; ");
    // That it is the size of the body has been found out by reading it; ids and counters differ in size.
    if ("content-length" in clean.headers) clean.headers["content-length"] = "(size of the body)";
  }
  if (entry.body !== undefined) clean.body = rename(entry.body.toString());
  const packet = (text) => rename(cleanPacket(text, counter, hasOffsets));
  if (entry.packets) clean.packets = entry.packets.map(packet);
  if (entry.text !== undefined) clean.text = packet(entry.text);
  return clean;
}

/** What one client has been told so far, in its own order. */
class Counter {
  #acks = new Map();
  #offsets = new Map();

  ack(namespace, id) {
    return number(this.#acks, `${namespace} ${id}`);
  }

  offset(text) {
    return number(this.#offsets, text);
  }
}

function number(seen, value) {
  if (!seen.has(value)) seen.set(value, seen.size);
  return seen.get(value);
}

function cleanPacket(text, counter, hasOffsets) {
  if (text.startsWith("(msgpack) 4")) return `(msgpack) ${cleanPacket(text.slice(10), counter, hasOffsets)}`;
  const message = parseMessage(text);
  if (!message || (message.type !== 2 && message.type !== 5)) return text;
  const { type, attachments, namespace, id, json } = message;
  const head = `4${type}${attachments ? `${attachments}-` : ""}${namespace === "/" ? "" : `${namespace},`}`;
  if (id !== undefined) return `${head}(ack ${counter.ack(namespace, id)})${json}`;
  if (!hasOffsets) return text;
  return head + json.replace(/,"([\w\-.]+)"\]$/, (_, offset) => `,"(offset ${counter.offset(offset)})"]`);
}

function renamer(names) {
  const ids = [...names.keys()];
  if (ids.length === 0) return (text) => text;
  const pattern = new RegExp(ids.map((id) => id.replace(/[-\\^$*+?.()|[\]{}]/g, "\\$&")).join("|"), "g");
  return (text) => text.replace(pattern, (id) => names.get(id));
}

/** The auth of a client that wants to be recovered names the last event it has seen. */
function withoutOffset(what) {
  if (what[0] !== "connection" || what[1]?.offset === undefined) return what;
  return what.with(1, { ...what[1], offset: "(offset)" });
}

/** Objects with their keys in order: one of the servers keeps them in a sorted map. */
function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
}

/** Sockets whose ids no client has seen, because it was gone before, are known by what happened to them. */
function anonymous(heard) {
  const named = {};
  const unseen = [];
  for (const [id, what] of Object.entries(heard)) {
    // `/chat#(session 1 ..)`: the id that Node gives to sockets of older clients, see `ids-of-old-sockets`.
    if ((id.includes("(") && !id.includes("#")) || id === "engine") named[id] = what;
    else {
      const rows = JSON.parse(JSON.stringify(what).replaceAll(id, "(itself)"));
      // One entry for each life: Node's older clients come back under the same id.
      for (const row of rows) {
        if (row[0] === "connection" || unseen.length === 0) unseen.push([]);
        unseen.at(-1).push(row);
      }
    }
  }
  // What known differences take out or put in must not change who is held against whom.
  const key = (rows) => JSON.stringify([rows.filter(([what]) => what !== "any" && what !== "error"), rows]);
  unseen.sort((a, b) => (key(a) < key(b) ? -1 : 1));
  unseen.forEach((what, index) => (named[`(unseen ${index})`] = what));
  return named;
}
