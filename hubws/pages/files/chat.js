// The chat's page: one room at a time. What the server says is described in chat.py.

import {Live, byId, element, put, showState} from "./live.js";

const [nameField, roomField, stateLine, leaveButton, here, count, people, title, announcement, log, messages, newer, composer, messageField, sendButton, alertLine] =
  ["name", "room", "state", "leave", "here", "count", "people", "title", "announcement", "log", "messages", "newer", "composer", "message", "send", "alert"]
    .map(byId);

const KEPT = 500;  // messages that stay in the page
const LISTED = 100; // people who are listed by name

let name = recall();
let room = decodeHash() || "lobby";
let position = "";    // of the last message that came
let wasOpen = false;  // in this room, since it was entered
let following = true; // the end of the log is in sight
let present = new Map(); // who is here, by id
let version = -1;     // of what is known of that
let me = null;        // the number of this page's connection
const own = new Set(); // those that it has had; each server counts anew, so with the room's epoch

const live = new Live({
  url: () => `${encodeURIComponent(room)}?since=${encodeURIComponent(position)}`,
  onOpen() {
    if (name) live.send({event: "SET_NAME", new_name: name});
    version = -1;
  },
  onMessage,
  onLost(code) {
    if (wasOpen) addNote(code === 1001 ? "The server is going away." : "The connection was lost.");
    present.clear();
    showPeople();
  },
  onState(state, words) {
    // What was said before comes first: one is in the room once that is there.
    show(state === "open" ? "waiting" : state, state === "open" ? "entering…" : words);
  },
});

// -- what comes ------------------------------------------------------------------------------

function onMessage(event) {
  if (event.event === "CHAT_MSG") {
    position = event.position ?? position;
    if (event.user === "server") announce(event);
    else addMessage(event);
  } else if (event.event === "JOINED") {
    position = event.since;
    me = event.id;
    own.add(ownName(me, position));
    if (!event.complete) addNote("Some of what was said meanwhile is not known any more.");
    addNote(wasOpen ? "Connected again." : `You are in ${room}.`);
    wasOpen = true;
    alertLine.textContent = "";
    show("open", "connected");
  } else if (event.presence) {
    followPresence(event);
  } else if (event.event === "ERROR") {
    alertLine.textContent = `The server says: ${event.message}`;
  }
}

const ownName = (id, at) => `${at.split(":")[0]} ${id}`;

function followPresence(event) {
  if (event.version <= version) return;
  version = event.version;
  if (event.presence === "snapshot") present = new Map(event.members.map((member) => [member.user, member.info.name]));
  else if (event.presence === "left") present.delete(event.user);
  else present.set(event.user, event.info.name);
  showPeople();
}

// -- what is seen ----------------------------------------------------------------------------

function show(state, words) {
  showState(stateLine, state, words);
  leaveButton.textContent = state === "off" ? "Join" : "Leave";
  sendButton.disabled = state !== "open";
}

function hueOf(user) {
  return [...user].reduce((hue, letter) => (hue * 31 + letter.codePointAt(0)) % 360, 7);
}

function avatarOf(user) {
  const avatar = element("span", "avatar", [...user][0].toUpperCase());
  avatar.ariaHidden = "true";
  avatar.style.setProperty("--hue", hueOf(user));
  return avatar;
}

let isPeopleDue = false;
function showPeople() {
  if (isPeopleDue) return;
  isPeopleDue = true;
  requestAnimationFrame(() => {
    isPeopleDue = false;
    put(count, present.size ? `${present.size} ${present.size === 1 ? "is" : "are"} here` : "Nobody is here");
    const rows = [...present].slice(0, LISTED).map(([id, user]) => {
      const row = element("li");
      const label = element("span", "", user);
      if (id === me) label.append(" ", element("small", "", "(you)"));
      row.append(avatarOf(user), label);
      return row;
    });
    if (present.size > LISTED) rows.push(element("li", "more", `and ${present.size - LISTED} more`));
    people.replaceChildren(...rows);
  });
}

function follow() {
  following = true;
  newer.hidden = true;
  log.scrollTop = log.scrollHeight;
}

function append(item) {
  messages.append(item);
  while (messages.children.length > KEPT) messages.firstChild.remove();
  if (following) follow();
  else newer.hidden = false;
}

const clock = (seconds) =>
  new Date(seconds * 1000).toLocaleTimeString([], {hour: "2-digit", minute: "2-digit"});

function addNote(text) {
  append(element("li", "note", text));
}

function addMessage({id, user, message, time, position: at}) {
  const isOwn = own.has(ownName(id, at));
  const last = messages.lastElementChild;
  const more = last?.dataset.by === `${id} ${user}`;
  const item = element("li", `said${isOwn ? " own" : ""}${more ? " more" : ""}`);
  item.dataset.by = `${id} ${user}`;
  item.style.setProperty("--hue", hueOf(user));
  const who = element("p", more ? "who for-readers" : "who");
  who.append(element("b", "", isOwn ? "You" : user), element("time", "", clock(time)));
  item.append(avatarOf(user), who, element("p", "text", message));
  append(item);
}

function announce({message, time}) {
  put(announcement.querySelector("span"), message);
  put(announcement.querySelector("time"), clock(time));
  announcement.hidden = false;
}

// A browser that keeps nothing for this page throws.
function recall() {
  try { return localStorage.getItem("name") ?? ""; } catch { return ""; }
}
function remember(value) {
  try { localStorage.setItem("name", value); } catch { /* then not */ }
}

// -- what people do --------------------------------------------------------------------------

function decodeHash() {
  try { return decodeURIComponent(location.hash.slice(1)); } catch { return ""; }
}

function enter(newRoom) {
  live.stop({event: "LEAVE"});
  room = newRoom;
  position = "";
  wasOpen = false;
  present.clear();
  showPeople();
  roomField.value = title.textContent = room;
  document.title = `${room} – hubws chat`;
  history.replaceState(null, "", "#" + encodeURIComponent(room));
  messages.replaceChildren();
  alertLine.textContent = "";
  follow();
  live.start();
}

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = messageField.value.trim();
  if (!text || sendButton.disabled || !live.isOpen) return;
  alertLine.textContent = "";
  live.send({event: "SAY", message: text});
  messageField.value = "";
  messageField.focus();
  follow();
});

nameField.addEventListener("change", () => {
  nameField.value = nameField.value.trim() || name;
  nameField.setCustomValidity(nameField.value === "server" ? "This name is the server's own." : "");
  if (!nameField.reportValidity() || nameField.value === name) return;
  name = nameField.value;
  remember(name);
  if (live.isOpen) live.send({event: "SET_NAME", new_name: name});
});

roomField.addEventListener("change", () => enter(roomField.value.trim().replace(/^\/+|\/+$/g, "") || "lobby"));

for (const field of [nameField, roomField]) {
  field.addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.isComposing) messageField.focus(); });
}

leaveButton.addEventListener("click", () => {
  if (stateLine.dataset.state === "off") return enter(room);
  live.stop({event: "LEAVE"});
  present.clear();
  showPeople();
  show("off", "you have left");
  addNote("You have left.");
});

log.addEventListener("scroll", () => {
  following = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  if (following) newer.hidden = true;
});
// A phone's keyboard takes half of the screen.
new ResizeObserver(() => { if (following) follow(); }).observe(log);
newer.addEventListener("click", () => { follow(); log.focus(); });

addEventListener("hashchange", () => { if (decodeHash() && decodeHash() !== room) enter(decodeHash()); });

here.open = matchMedia("(min-width: 46.01rem)").matches;
nameField.value = name;
enter(room);
